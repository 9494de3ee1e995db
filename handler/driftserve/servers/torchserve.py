"""Configures TorchServe for one unpacked archive or for many, and builds the command that starts its JVM."""

import importlib.util
import logging
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from driftserve.archive.contract import Contract
from driftserve.errors import ServerError
from driftserve.host.ports import free_ports, free_ports_within
from driftserve.servers.jvm import (
    MOST_BODY_BYTES,
    JvmMemory,
    jvm_memory,
    properties_text,
    server_command,
    server_request_bytes,
)
from driftserve.settings import Settings

logger = logging.getLogger(__name__)

_LOG_CONFIG = Path(__file__).with_name("torchserve_log4j2.xml")
# The programs with which a multi-model server starts its workers, instead of Python itself. The folder is also first on
# its PATH, because the manifest of an archive can make TorchServe start "python3" or "torchrun".
MULTI_MODEL_PROGRAMS = Path(__file__).with_name("multi_model_programs")
# TorchServe 0.12 always opens its gRPC APIs, only on TCP, and checks no caller: on loopback, every local user
# could scale or remove the model. Linux lets a TCP socket listen on the broadcast address, but connects none to it.
_UNREACHABLE_ADDRESS = "255.255.255.255"


def prepare(
    directory: Path, model_dir: Path, contract: Contract, settings: Settings, memory_bytes: int | None = None
) -> list[str]:
    """Write `config.properties` into the server's directory; return the command line of its JVM.

    The JVM is started directly, because `torchserve --foreground` leaves the JVM and the workers running on SIGTERM.
    `memory_bytes` is as in `jvm_memory`.

    Raises:
        ServerError: TorchServe or Java is not installed in this environment.
    """
    memory = jvm_memory(settings, settings.workers, memory_bytes)
    properties = _properties(directory, settings, memory) | _one_model(directory, model_dir, contract, settings)
    return [*_command(directory, properties, memory), "-s", str(model_dir.parent), "-ncs"]


def prepare_multi_model(directory: Path, settings: Settings) -> list[str]:
    """Write `config.properties` for a server that starts without a model; return the command line of its JVM.

    Requests to the server's port load and unload models:
    https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html

    Raises:
        ServerError: TorchServe or Java is not installed in this environment.
    """
    if settings.batch_size != 1:  # SageMaker's requests that load a model name none, and TorchServe then takes 1
        logger.warning("DRIFTSERVE_BATCH_SIZE: %d is not used in multi-model mode; unset it", settings.batch_size)
    store = directory / "store"  # TorchServe copies the `.mar` files that it loads from URLs into this directory
    store.mkdir()
    memory = jvm_memory(settings, workers=1)  # before each further worker, `worker` checks that there is memory for it
    properties = _properties(directory, settings, memory) | _many_models(settings)
    command = _command(directory, properties, memory, python=MULTI_MODEL_PROGRAMS / "python")
    return [*command, "-s", str(store), "-ncs"]


def _command(
    directory: Path, properties: Mapping[str, object], memory: JvmMemory, python: Path = Path(sys.executable)
) -> list[str]:
    package = importlib.util.find_spec("ts")
    if package is None or package.origin is None:
        raise ServerError("TorchServe is not installed here; `pip install 'driftserve[torchserve]'`")
    (directory / "config.properties").write_text(properties_text(properties))
    frontend = Path(package.origin).parent / "frontend"
    return server_command(frontend, "org.pytorch.serve.ModelServer", _LOG_CONFIG, directory, memory, python)


def _properties(directory: Path, settings: Settings, memory: JvmMemory) -> dict[str, object]:
    """Return the properties for both one model and many."""
    grpc_inference, grpc_management = _inner_ports(settings)
    return {
        "inference_address": f"http://{settings.host}:{settings.port}",
        # No other user may reach the other APIs: they are sockets in a directory of this user, or closed.
        "metrics_address": f"unix:{directory / 'metrics.sock'}",
        "grpc_inference_address": _UNREACHABLE_ADDRESS,
        "grpc_management_address": _UNREACHABLE_ADDRESS,
        "grpc_inference_port": grpc_inference,
        "grpc_management_port": grpc_management,
        "disable_token_authorization": "true",
        "enable_envvars_config": "false",
        "decode_input_request": "false",  # raw bytes for every content type, as on MMS
        "disable_system_metrics": "true",
        "job_queue_size": memory.waiting,
        "max_request_size": server_request_bytes(settings),
        "max_response_size": MOST_BODY_BYTES,
    }


def _inner_ports(settings: Settings) -> list[int]:
    """Return two free ports for gRPC, inside the range that SageMaker leaves to this container, if there is one."""
    if settings.safe_port_range is None:
        return [free for free in free_ports(3) if free != settings.port][:2]
    first, last = map(int, settings.safe_port_range.split("-"))
    return free_ports_within(first, last, 2, but=settings.port)


def _one_model(directory: Path, model_dir: Path, contract: Contract, settings: Settings) -> dict[str, object]:
    """Return the properties for one unpacked archive, with the number of workers from the settings."""
    model = {
        "defaultVersion": "true",
        "marName": f'"{model_dir.name}"',
        "minWorkers": settings.workers,
        "maxWorkers": settings.workers,
        "batchSize": settings.batch_size,
        "maxBatchDelay": settings.max_batch_delay_ms,
        "responseTimeout": settings.response_timeout_seconds,
        "startupTimeout": math.ceil(settings.start_timeout_seconds),
    }
    fields = ",".join(f'"{name}":{value}' for name, value in model.items())
    return {
        "management_address": f"unix:{directory / 'management.sock'}",
        "enable_model_api": "false",
        "allowed_urls": "file://.*",
        "load_models": model_dir.name,
        "models": f'{{"{contract.name}":{{"{contract.version}":{{{fields}}}}}}}',
    }


def _many_models(settings: Settings) -> dict[str, object]:
    """Return the properties for no model at start; SageMaker loads and invokes models on the same port."""
    # `[^%]` excludes "%2e%2e", which Java would decode to "..".
    allowed_urls = f"file://{re.escape(str(settings.models_dir.absolute()))}/[^%]*"
    return {
        "management_address": f"http://{settings.host}:{settings.port}",
        "enable_model_api": "true",
        "allowed_urls": allowed_urls,
        "blacklist_env_vars": "PYTHONPATH",  # TorchServe would add the archive's directory to this variable
        "default_workers_per_model": settings.workers if "workers" in settings.model_fields_set else 1,
        "default_response_timeout": settings.response_timeout_seconds,
        "default_startup_timeout": math.ceil(settings.start_timeout_seconds),
    }
