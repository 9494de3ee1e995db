import os
import subprocess
import sys
from pathlib import Path

import pytest

from driftserve import __version__


def _driftserve(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "driftserve", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def test_the_version_is_shown() -> None:
    assert _driftserve("--version").stdout.strip() == __version__


@pytest.mark.parametrize("arguments", [[], ["fly"], ["serve"], ["serve", "x.mar", "--port", "0"], ["status", "--jsno"]])
def test_a_wrong_command_line_exits_with_2(arguments: list[str]) -> None:
    done = _driftserve(*arguments)
    assert done.returncode == 2
    assert "usage: driftserve" in done.stderr


def test_a_missing_archive_exits_with_1_and_one_line(tmp_path: Path) -> None:
    done = _driftserve("serve", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"driftserve: {tmp_path}: expected an archive, or a directory with one .mar file, got none\n"


def test_a_stray_setting_exits_with_1_and_its_name() -> None:
    done = _driftserve("status", DRIFTSERVE_WINDOW="5")
    assert done.returncode == 1
    assert "DRIFTSERVE_WINDOW: no such setting" in done.stderr


def test_status_without_a_monitor_exits_with_1(tmp_path: Path) -> None:
    done = _driftserve("status", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "driftserve: no monitor is running; start one with `driftserve serve`\n"


def test_a_monitor_needs_to_know_where(tmp_path: Path) -> None:
    done = _driftserve("monitor", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert "DRIFTSERVE_RUNTIME_DIR: expected a directory, got nothing" in done.stderr
