import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from driftserve import __version__
from driftserve.archive.reading import read_archive
from driftserve.cli import main
from driftserve.runtime.directory import lock_runtime
from sample_images import encode


def _driftserve(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as a process: for its real exit status, and for `serve`, which ends all children of its process."""
    return subprocess.run(
        [sys.executable, "-m", "driftserve", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


@dataclass(frozen=True)
class Done:
    """The exit status and output of a command."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def driftserve(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """A function that runs a command in this process."""

    def driftserve(*arguments: str | Path, **environment: str) -> Done:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = int(str(ended.code))
        return Done(status, *capsys.readouterr())

    return driftserve


def test_the_version_is_shown() -> None:
    assert _driftserve("--version").stdout.strip() == __version__


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["verify"],
        ["predict", "a.png"],
        ["serve", "x.mar", "--port", "0"],
        ["serve", "--port", "http"],
        ["status", "--jsno"],
    ],
)
def test_a_wrong_command_line_exits_with_2(driftserve: Command, arguments: list[str]) -> None:
    done = driftserve(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("driftserve: ")
    assert line.endswith("--help` for usage")


def test_a_missing_archive_exits_with_1_and_a_one_line_error(tmp_path: Path) -> None:
    done = _driftserve("serve", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"driftserve: {tmp_path}: expected a .mar file, or a directory with one .mar file, got none\n"


def test_serve_without_an_archive_uses_sagemakers_directory() -> None:
    done = _driftserve("serve")
    assert done.returncode == 1
    assert done.stderr.startswith("driftserve: /opt/ml/model: expected a .mar file")


def test_serve_without_an_archive_uses_the_setting(tmp_path: Path) -> None:
    done = _driftserve("serve", DRIFTSERVE_MODEL_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"driftserve: {tmp_path}: expected a .mar file")


def test_verify_prints_name_and_digest(driftserve: Command, archive: Path) -> None:
    done = driftserve("verify", str(archive))
    assert done.returncode == 0
    assert done.stdout == f"tiny/7 {read_archive(archive)[1]}\n"


def test_verify_unpacks_into_the_given_directory(driftserve: Command, archive: Path, tmp_path: Path) -> None:
    assert driftserve("verify", str(archive), "--unpack", str(tmp_path / "model")).returncode == 0
    assert (tmp_path / "model" / "model.pt").exists()


def test_inspect_shows_what_an_archive_holds(driftserve: Command, archive: Path) -> None:
    page = driftserve("inspect", str(archive)).stdout
    assert "labels" in page
    assert "red, green, blue" in page
    assert read_archive(archive)[1] in page
    document = json.loads(driftserve("inspect", str(archive), "--json").stdout)
    assert document["name"] == "tiny"


def test_predict_answers_like_the_server_and_fails_if_an_image_fails(
    driftserve: Command, archive: Path, tmp_path: Path
) -> None:
    blue = np.zeros((50, 70, 3), np.uint8) + np.array([10, 10, 200], np.uint8)
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(encode(blue))
    bad.write_bytes(b"garbage")
    done = driftserve("predict", str(good), "--archive", str(archive))
    assert done.returncode == 0
    assert json.loads(done.stdout)["label"] == "blue"
    done = driftserve("predict", str(bad), str(good), "--archive", str(archive))
    assert done.returncode == 1
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["error"]["type"] == "UndecodableImage"
    assert second["label"] == "blue"


def test_predict_with_a_missing_image_exits_with_1_and_a_one_line_error(
    driftserve: Command, archive: Path, tmp_path: Path
) -> None:
    done = driftserve("predict", str(tmp_path / "no.png"), "--archive", str(archive))
    assert done.returncode == 1
    assert done.stderr.startswith("driftserve: ")
    assert "no.png" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_setting_exits_with_1_and_its_name(driftserve: Command) -> None:
    done = driftserve("status", DRIFTSERVE_WINDOW="5")
    assert done.returncode == 1
    assert "DRIFTSERVE_WINDOW: no such setting" in done.stderr


def test_status_without_a_monitor_exits_with_1(tmp_path: Path) -> None:
    done = _driftserve("status", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        f"driftserve: no monitor is running below {tmp_path}/driftserve-{os.getuid()}; start one with `driftserve "
        "serve`, or give the --runtime-dir of a running one\n"
    )


@pytest.mark.parametrize("command", ["status", "verify", "serve"])
def test_a_missing_temporary_directory_is_not_replaced_by_another(archive: Path, tmp_path: Path, command: str) -> None:
    other = tmp_path / f"driftserve-{os.getuid()}" / "1"
    with lock_runtime(other):  # as a server does that uses the directory to which Python would turn
        arguments = [command] if command == "status" else [command, str(archive)]
        done = _driftserve(*arguments, TMPDIR=str(tmp_path / "gone"), TEMP=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        f"driftserve: TMPDIR: expected a directory, got {tmp_path}/gone; create it, or set TMPDIR to another\n"
    )
    assert not (tmp_path / "gone").exists()


def test_a_full_temporary_directory_is_not_replaced_by_another(archive: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / f"driftserve-{os.getuid()}").mkdir(mode=0o700)
    limited = (
        "import resource, sys; from driftserve.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "verify", str(archive)],
        env=os.environ | {"TMPDIR": str(full), "TEMP": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "File too large" in line
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_the_status_is_not_that_of_a_directory_of_somebody_else(tmp_path: Path) -> None:
    root = tmp_path / f"driftserve-{os.getuid()}"
    with lock_runtime(root / "1"):
        assert _driftserve("status", TMPDIR=str(tmp_path)).returncode == 0
        root.chmod(0o777)
        done = _driftserve("status", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert "expected a directory of this user that no other user can write to, got drwxrwxrwx" in done.stderr


def test_the_monitor_command_needs_a_runtime_directory(driftserve: Command, tmp_path: Path) -> None:
    done = driftserve("monitor", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert "DRIFTSERVE_RUNTIME_DIR: expected a directory, got nothing" in done.stderr


def test_ctrl_c_is_one_line_and_status_130(archive: Path, tmp_path: Path) -> None:
    os.mkfifo(record := tmp_path / "record.jsonl")
    arguments = ("replay", str(record), "--archive", str(archive))
    with (
        subprocess.Popen(
            [sys.executable, "-m", "driftserve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as command,
        record.open("w"),
    ):  # returns when the command has opened the record
        command.send_signal(signal.SIGINT)
        output, errors = command.communicate(timeout=60)
    assert (command.returncode, output, errors) == (130, "", "driftserve: interrupted\n")
