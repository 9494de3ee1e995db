"""Replay the record of a real monitor with the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from driftserve.archive.reading import read_archive
from driftserve.observations.channel import SOCKET_FILE, Sender
from driftserve.observations.observation import Observation
from driftserve.runtime.directory import write_contract
from processes import running, wait_for


def _replay(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "driftserve", "replay", *arguments], env=os.environ | settings, capture_output=True
    )


def test_a_replay_gives_the_monitors_reports_byte_for_byte(archive: Path, tmp_path: Path) -> None:
    runtime_dir = tmp_path / "r"
    record = tmp_path / "record"
    contract, digest = read_archive(archive)
    write_contract(runtime_dir, digest, contract)
    settings = {"DRIFTSERVE_RUNTIME_DIR": str(runtime_dir), "DRIFTSERVE_RECORD_DIR": str(record)}
    policy = {"DRIFTSERVE_WINDOW_SIZE": "40", "DRIFTSERVE_WINDOWS_BETWEEN_FALSE_ALARMS": "20"}
    rows = np.array(list(contract.reference.values())).T  # (N, F)
    with running("driftserve", "monitor", environment=settings | policy, log=tmp_path / "log"):
        wait_for((runtime_dir / SOCKET_FILE).exists)
        sender = Sender(runtime_dir / SOCKET_FILE, digest)
        for row in rows[:230]:
            sender.send((Observation(200, {"total": 1.0}, "red", 0.5, tuple(row + 1e-9)),))
        wait_for(lambda: (record / "reports.jsonl").exists() and len(_lines(record)) == 6)
    files = [str(path) for path in record.glob("observations.jsonl*")]
    done = _replay(*files, "--archive", str(archive))
    assert done.returncode == 0, done.stderr
    assert done.stdout == (record / "reports.jsonl").read_bytes()
    assert len(done.stdout.splitlines()) == 6  # five windows and the long window that they form
    other = _replay(*files, "--archive", str(archive), DRIFTSERVE_WINDOW_SIZE="100")
    reports = [json.loads(line) for line in other.stdout.splitlines()]
    assert [(report["observations"], report["level"]) for report in reports] == [(100, 0.5 / 20)] * 2


def _lines(record: Path) -> list[bytes]:
    return (record / "reports.jsonl").read_bytes().splitlines()


def test_the_error_for_an_invalid_record_names_the_line(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("hello\n")
    done = _replay(str(tmp_path / "x.jsonl"), "--archive", str(archive))
    assert done.returncode == 1
    assert b"line 1" in done.stderr
    assert len(done.stderr.splitlines()) == 1
