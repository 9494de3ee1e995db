"""Configures Multi Model Server (MMS) for one unpacked archive, and builds the command that starts its JVM."""

import importlib.util
from importlib import resources
from pathlib import Path

from driftserve.archive.contract import Contract
from driftserve.errors import ServerError, SettingsError
from driftserve.servers.jvm import (
    MOST_BODY_BYTES,
    JvmMemory,
    jvm_memory,
    properties_text,
    server_command,
    server_request_bytes,
)
from driftserve.settings import Settings

HIGHEST_PORT = 32_766  # MMS compares the port with Short.MAX_VALUE (com.amazonaws.ml.mms.util.Connector)
_LOG_CONFIG = Path(__file__).with_name("mms_log4j2.xml")


def prepare(
    directory: Path, model_dir: Path, contract: Contract, settings: Settings, memory_bytes: int | None = None
) -> list[str]:
    """Write `config.properties` into the server's directory; return the command line of its JVM.

    The JVM is started directly, because the inference toolkit's `start_model_server` writes to /etc, and searches all
    processes of the machine for the server by name. `memory_bytes` is as in `jvm_memory`.

    Raises:
        ServerError: MMS, the SageMaker inference toolkit or Java is not installed, or MMS does not support the port.
        SettingsError: MMS does not support a setting.
    """
    package = importlib.util.find_spec("mms")
    if package is None or package.origin is None or importlib.util.find_spec("sagemaker_inference") is None:
        raise ServerError("Multi Model Server is not installed here; `pip install 'driftserve[mms]'`")
    if settings.batch_size != 1:  # MMS takes another size only through its management API
        raise SettingsError(
            f"DRIFTSERVE_BATCH_SIZE: expected 1 with Multi Model Server, got {settings.batch_size}; unset it, or serve "
            "with TorchServe"
        )
    if settings.port > HIGHEST_PORT:
        raise ServerError(
            f"port: expected at most {HIGHEST_PORT} with Multi Model Server, got {settings.port}; choose a lower one"
        )
    memory = jvm_memory(settings, settings.workers, memory_bytes)
    (directory / "config.properties").write_text(_toolkit_defaults() + _properties(directory, settings, memory))
    frontend = Path(package.origin).parent / "frontend"
    return [
        *server_command(frontend, "com.amazonaws.ml.mms.ModelServer", _LOG_CONFIG, directory, memory),
        *("-s", str(model_dir.parent), "-m", f"{contract.name}={model_dir.name}"),
    ]


def _toolkit_defaults() -> str:
    """Return the properties with which SageMaker's inference toolkit starts MMS."""
    return (resources.files("sagemaker_inference") / "etc" / "default-mms.properties").read_text() + "\n"


def _properties(directory: Path, settings: Settings, memory: JvmMemory) -> str:
    """Return our own properties, which override the toolkit's because they come last."""
    properties = {
        "inference_address": f"http://{settings.host}:{settings.port}",
        # The management API must not be reachable from outside, so it is a socket in the runtime directory.
        "management_address": f"unix:{directory / 'management.sock'}",
        "default_workers_per_model": settings.workers,
        "default_response_timeout": settings.response_timeout_seconds,
        "enable_envvars_config": "false",
        "load_models": "NONE",  # the command line names the one model
        "job_queue_size": memory.waiting,
        "max_request_size": server_request_bytes(settings),
        "max_response_size": MOST_BODY_BYTES,
    }
    return properties_text(properties)
