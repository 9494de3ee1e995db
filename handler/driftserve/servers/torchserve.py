"""TorchServe: its configuration for one archive, and the command that starts its JVM."""

import importlib.util
import sys
from pathlib import Path

from driftserve.contract import Contract
from driftserve.errors import ServerError
from driftserve.servers.ports import free_ports
from driftserve.settings import Settings

_LOG_CONFIG = Path(__file__).with_name("torchserve_log4j2.xml")
_RESPONSE_TIMEOUT_SECONDS = 60  # SageMaker gives an invocation 60 s
_START_TIMEOUT_SECONDS = 60


def write_configuration(path: Path, contract: Contract, archive: Path, port: int, settings: Settings) -> None:
    """Write the `config.properties` that serves one archive on `port`, by as many workers as are set."""
    grpc_inference, grpc_management = free_ports(2)
    model = {
        "defaultVersion": "true",
        "marName": f'"{archive.name}"',
        "minWorkers": settings.workers,
        "maxWorkers": settings.workers,
        "batchSize": settings.batch_size,
        "maxBatchDelay": settings.max_batch_delay_ms,
        "responseTimeout": _RESPONSE_TIMEOUT_SECONDS,
        "startupTimeout": _START_TIMEOUT_SECONDS,
    }
    fields = ",".join(f'"{name}":{value}' for name, value in model.items())
    properties = {
        "inference_address": f"http://{settings.host}:{port}",
        # The other doors are for nobody outside: sockets in the runtime directory, gRPC on loopback.
        "management_address": f"unix:{path.with_name('management.sock')}",
        "metrics_address": f"unix:{path.with_name('metrics.sock')}",
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
        "load_models": archive.name,
        "models": f'{{"{contract.name}":{{"{contract.version}":{{{fields}}}}}}}',
    }
    path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


def command(java: Path, configuration: Path, archive: Path, temporary: Path) -> list[str]:
    """The command line of TorchServe's JVM.

    The JVM is started directly: `torchserve --foreground` leaves JVM and workers orphaned on SIGTERM.

    Raises:
        ServerError: TorchServe is not installed in this environment.
    """
    package = importlib.util.find_spec("ts")
    if package is None or package.origin is None:
        raise ServerError("TorchServe is not installed here; `pip install 'driftserve[torchserve]'`")
    site_packages = Path(package.origin).parent.parent
    return [
        str(java),
        f"-Dmodel_server_home={site_packages}",
        f"-Djava.io.tmpdir={temporary}",
        f"-Dlog4j.configurationFile=file://{_LOG_CONFIG}",
        *("-Xmx256m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
        *("-cp", f".:{site_packages}/ts/frontend/*", "org.pytorch.serve.ModelServer"),
        *("--python", sys.executable),
        *("-f", str(configuration), "-s", str(archive.parent), "-ncs"),
    ]
