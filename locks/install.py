"""Installs the dependencies of projects with the versions and hashes of a lock, then the projects without dependencies.

`python locks/install.py LOCK [--project FOLDER]... [--extra NAME]... [--requirement NAME]... [--editable FOLDER]...`
installs into the environment of this Python, or of PIP_PYTHON. Standard library only, because nothing is installed yet.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

_BUILDS = ("setuptools", "hatchling", "editables")  # what builds packages that have no wheel, and ours


def main() -> int:
    """Install; return pip's status, which is not 0 if a package has a hash that the lock does not list."""
    options = _parser().parse_args()
    try:
        _install(options)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(
            f"expected packages with the hashes of {options.lock}, but pip has failed (see above); "
            "if you have changed a version, run `make lock`\n"
        )
        return int(error.returncode)
    return 0


def _install(options: argparse.Namespace) -> None:
    lock = options.lock.read_text()
    if pip := _entry(lock, "pip"):
        _install_pip(pip)
    locked = ("--require-hashes", "--constraint", str(options.lock), "--no-build-isolation")
    if builds := [name for name in _BUILDS[: 3 if options.editable else 1] if _entry(lock, name)]:
        _pip(*locked, *builds)
    if torch := _entry(lock, "torch"):
        _pip(*locked, _build_of_torch(torch))
    if needed := _needed(options) + options.requirement:
        _pip(*locked, *needed)
    editable = [word for folder in options.editable for word in ("--editable", f"./{folder}")]
    if editable:
        _pip("--no-deps", "--no-build-isolation", *editable)


def _install_pip(entry: str) -> None:
    """Install the lock's pip: pip has taken hashes from constraints since version 26.1, and Debian's is older."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(entry)
        file.flush()
        # Images are built by a pip outside them, and PIP_PYTHON names the image's Python: this is for that pip itself.
        _pip("--require-hashes", "--requirement", file.name, PIP_PYTHON="")


def _needed(options: argparse.Namespace) -> list[str]:
    """The requirements of the projects, and of the first project's extras, without the projects themselves."""
    described = [tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in options.project]
    needed: list[str] = [name for project in described for name in project["dependencies"]]
    needed += [name for extra in options.extra for name in described[0]["optional-dependencies"][extra]]
    ours = {project["name"] for project in described}
    return [name for name in needed if name not in ours]


def _build_of_torch(entry: str) -> str:
    """The CPU build, if a package source has one: it takes no CUDA packages. Its hash is compared afterwards."""
    cpu = f"{entry.split()[0]}+cpu"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", cpu]
    return cpu if subprocess.run(command, capture_output=True).returncode == 0 else "torch"


def _entry(lock: str, name: str) -> str:
    """The line of a package with the lines of its hashes; empty if the lock does not have it."""
    found = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    return found[0] if found else ""


def _pip(*arguments: str, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, env=os.environ | environment)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lock", type=Path)
    parser.add_argument(
        "--project", type=Path, action="append", default=[], help="a folder whose dependencies to install"
    )
    parser.add_argument("--editable", type=Path, action="append", default=[], help="a project to install itself")
    parser.add_argument("--extra", action="append", default=[], help="an extra of the first project")
    parser.add_argument("--requirement", action="append", default=[], help="a package to install besides")
    return parser


if __name__ == "__main__":
    sys.exit(main())
