"""TorchServe: its configuration for one unpacked archive, and the command that starts its JVM."""

import importlib.util
import math
from pathlib import Path

from driftserve.contract import Contract
from driftserve.errors import ServerError
from driftserve.servers.jvm import server_command
from driftserve.servers.ports import free_ports
from driftserve.settings import Settings

_LOG_CONFIG = Path(__file__).with_name("torchserve_log4j2.xml")
_RESPONSE_TIMEOUT_SECONDS = 60  # SageMaker gives an invocation 60 s


def prepare(
    java: Path, directory: Path, model_dir: Path, contract: Contract, port: int, settings: Settings
) -> list[str]:
    """Write `config.properties` into the server's directory; the command line of its JVM.

    The JVM is started directly: `torchserve --foreground` leaves JVM and workers orphaned on SIGTERM.

    Raises:
        ServerError: TorchServe is not installed in this environment.
    """
    package = importlib.util.find_spec("ts")
    if package is None or package.origin is None:
        raise ServerError("TorchServe is not installed here; `pip install 'driftserve[torchserve]'`")
    (directory / "config.properties").write_text(_properties(directory, model_dir, contract, port, settings))
    frontend = Path(package.origin).parent / "frontend"
    return [
        *server_command(java, frontend, "org.pytorch.serve.ModelServer", _LOG_CONFIG, directory),
        *("-s", str(model_dir.parent), "-ncs"),
    ]


def _properties(directory: Path, model_dir: Path, contract: Contract, port: int, settings: Settings) -> str:
    """The configuration that serves one unpacked archive on `port`, by as many workers as are set."""
    grpc_inference, grpc_management = [free for free in free_ports(3) if free != port][:2]
    model = {
        "defaultVersion": "true",
        "marName": f'"{model_dir.name}"',
        "minWorkers": settings.workers,
        "maxWorkers": settings.workers,
        "batchSize": settings.batch_size,
        "maxBatchDelay": settings.max_batch_delay_ms,
        "responseTimeout": _RESPONSE_TIMEOUT_SECONDS,
        "startupTimeout": math.ceil(settings.start_timeout_seconds),
    }
    fields = ",".join(f'"{name}":{value}' for name, value in model.items())
    properties = {
        "inference_address": f"http://{settings.host}:{port}",
        # The other doors are for nobody outside: sockets in the runtime directory, gRPC on loopback.
        "management_address": f"unix:{directory / 'management.sock'}",
        "metrics_address": f"unix:{directory / 'metrics.sock'}",
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        "grpc_inference_port": grpc_inference,
        "grpc_management_port": grpc_management,
        "disable_token_authorization": "true",
        "enable_model_api": "false",
        "enable_envvars_config": "false",
        "allowed_urls": "file://.*",
        "decode_input_request": "false",  # raw bytes for every content type, as on MMS
        "disable_system_metrics": "true",
        "max_request_size": settings.max_request_bytes,
        "max_response_size": settings.max_request_bytes,
        "load_models": model_dir.name,
        "models": f'{{"{contract.name}":{{"{contract.version}":{{{fields}}}}}}}',
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())
