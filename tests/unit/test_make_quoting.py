"""Run every command of make with values that the shell or make would interpret. The programs are fakes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from checkout import ROOT

VERBS = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
# The quotes end a word that is quoted carelessly, either way; then the shell, or make itself, creates a file.
ODD = "a'; touch made; '\"; touch made; \"`touch made`$(touch made)$(shell touch made)&b"
ONE_WORD = ODD.replace(" ", "${IFS}")
FAKE = """#!/bin/sh
# A fake program: writes down its arguments. `python -m venv FOLDER` makes an environment of fakes.
printf '%s\\n' "$@" >> "$CALLS"
[ "$1 $2" != "-m venv" ] || { mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; }
"""
PROGRAMS = ("python", "driftserve", "coverage", "ruff", "mypy", "lint-imports")
GIVEN = ("DATA", "OOD", "WEIGHTS", "MODEL", "EPOCHS", "PORT", "ARCHIVE", "REGISTRY", "IMAGES_PER_CLASS")
WORDS = ("PARAMS", "TARGETS", "REPOSITORY", "IMAGE", "REVISION", "TEST_PROCESSES")
PASSED = {  # some values that must arrive as they are; {odd} has blanks
    "demo": ("{odd}",),
    "pipeline-dry": ("{odd}", "CodeRevision={word}", "{word}"),
    "pipeline-local": ("{odd}", "{word}"),
    "certificate": ("{odd}",),
    "serve": ("{place}/{odd}", "{odd}"),
    "image": ("{word}", "{word}:{word}", "org.opencontainers.image.revision={word}"),
    "run": ("127.0.0.1:{odd}:8080", "{place}/{odd}:/opt/ml/model:ro", "{word}:serving"),
    "sbom": ("{word}:{word}",),
    "bench-drift": ("{odd}",),
    "login": ("{odd}",),
    "push": ("{odd}", "{word}"),
}


def _program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FAKE)
    path.chmod(0o755)
    return str(path)


def _make(place: Path, verb: str, given: dict[str, str], *, in_environment: bool) -> list[str]:
    """Run a command of make in a folder with a copy of the Makefile; return the arguments that the fakes got."""
    checkout = place / "checkout"
    (checkout / "handler" / "driftserve").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", checkout)
    (checkout / "locks").mkdir()
    for name in ("pyproject.toml", "locks/packages.txt", "locks/pipeline.txt", "locks/install.py"):
        (checkout / name).touch()
    (place / ODD).mkdir()
    commands = {name: _program(place / name.lower()) for name in ("DOCKER", "AWS", "PYTHON")}
    ours = {name: text for name, text in os.environ.items() if not name.startswith(("DRIFTSERVE_", "MAKE"))}
    environment = ours | {"CALLS": str(place / "calls")} | (given if in_environment else {})
    settings = commands | ({} if in_environment else given)
    command = ["make", verb, *(f"{name}={text}" for name, text in settings.items())]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not list(place.rglob("made"))
    return (place / "calls").read_text().splitlines() if (place / "calls").exists() else []


@pytest.mark.parametrize("in_environment", [False, True], ids=["arguments", "environment"])
@pytest.mark.parametrize("verb", VERBS)
def test_no_value_is_run_by_the_shell_or_by_make(tmp_path: Path, verb: str, in_environment: bool) -> None:
    given = dict.fromkeys(GIVEN, ODD) | dict.fromkeys(WORDS, ONE_WORD) | {"ARCHIVE": f"{tmp_path}/{ODD}"}
    folders = {"VENV": "venv", "VENV_MMS": "mms", "VENV_PIPELINE": "pipeline", "BUILD": "build"}
    given |= {name: f"it's&{folder}" for name, folder in folders.items()}
    for name in ("VENV", "VENV_MMS", "VENV_PIPELINE") if not verb.startswith("install") else ():
        for program in PROGRAMS:
            _program(tmp_path / "checkout" / given[name] / "bin" / program)
        installed = tmp_path / "checkout" / given[name] / ".installed"
        installed.touch()
        os.utime(installed, (2**31, 2**31))
    if verb == "clean":  # it removes no other folder
        given["BUILD"] = "build"
    sent = _make(tmp_path, verb, given, in_environment=in_environment)
    for expected in PASSED.get(verb, ()):
        assert expected.format(odd=ODD, word=ONE_WORD, place=tmp_path) in sent


def test_the_tag_of_a_checkout_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tag = "v1';touch${IFS}made;'`touch${IFS}made`"
    place = tmp_path / "checkout"
    place.mkdir()
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-C", str(place))
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "a"), ("tag", "-a", "-m", "a", tag)):
        subprocess.run([*git, *command], check=True)
    (place / "handler").mkdir()
    shutil.move(place / ".git", tmp_path / "git")
    shutil.rmtree(place)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "git"))
    sent = _make(tmp_path, "image", {"TARGETS": "serving"}, in_environment=False)
    assert any(word.startswith(f"org.opencontainers.image.revision={tag}") for word in sent)


def test_a_value_of_several_lines_is_refused() -> None:
    command = ["make", "serve", "ARCHIVE=a\ntouch made #"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "expected ARCHIVE in one line" in done.stderr
    assert not (ROOT / "made").exists()
