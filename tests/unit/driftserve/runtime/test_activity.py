import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil

from driftserve.host.process import started_at
from driftserve.runtime.activity import BusyMark, Workers
from processes import wait_for


def test_the_last_activity_is_zero_before_any_worker_starts(tmp_path: Path) -> None:
    assert Workers(tmp_path).last_activity(100.0) == 0.0


def test_a_worker_is_busy_until_its_batch_ends(tmp_path: Path) -> None:
    mark, workers = BusyMark(tmp_path), Workers(tmp_path)
    future = time.monotonic() + 1000
    assert workers.last_activity(future) == 0.0
    with mark:
        assert workers.last_activity(future) == future
    assert 0 <= time.monotonic() - workers.last_activity(future) < 60


def test_a_batch_between_two_checks_is_noticed_by_a_clock_that_never_jumps(tmp_path: Path) -> None:
    mark, workers = BusyMark(tmp_path), Workers(tmp_path)
    before = time.monotonic()
    with mark:
        assert workers.last_finished() == 0.0
    os.utime(tmp_path / "workers" / str(os.getpid()), (5.0, 5.0))  # as when somebody sets the clock back
    assert before <= workers.last_finished() <= time.monotonic()


def test_a_reused_process_id_does_not_count_as_a_live_worker(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    assert workers.living() == 0
    BusyMark(tmp_path)
    dead = tmp_path / "workers" / str(os.getppid())  # a process runs that has the id of the dead worker
    dead.write_bytes(struct.pack("<qq", (started_at(os.getppid()) or 0) - 1, 7_000_000_000))
    assert workers.living() == 1
    assert [path.name for path in (tmp_path / "workers").iterdir()] == [str(os.getpid())]
    assert workers.last_finished() == 7.0  # a dead worker's last batch still counts


def test_the_mark_of_a_new_worker_with_a_reused_process_id_is_kept(tmp_path: Path) -> None:
    path, workers = tmp_path / "workers" / str(os.getpid()), Workers(tmp_path)
    path.parent.mkdir()
    path.write_bytes(struct.pack("<qq", started_at(os.getpid()) or 0, 0))
    assert workers.living() == 1
    with path.open("r+b", buffering=0) as file:
        file.write(struct.pack("<q", 1))  # the worker of this mark is dead
        BusyMark(tmp_path)
        assert workers.living() == 0
    assert workers.living() == 1


def test_a_worker_whose_mark_was_removed_still_counts(tmp_path: Path) -> None:
    mark, workers = BusyMark(tmp_path), Workers(tmp_path)
    assert workers.living() == 1
    (tmp_path / "workers" / str(os.getpid())).unlink()
    (tmp_path / "workers").rmdir()
    with mark:
        assert workers.last_activity(7.0) == 7.0
    assert workers.last_finished() > 0
    assert workers.living() == 1


def test_a_zombie_worker_does_not_count_as_live(tmp_path: Path) -> None:
    code = (
        f"import pathlib; from driftserve.runtime.activity import BusyMark; BusyMark(pathlib.Path({str(tmp_path)!r}))"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_ZOMBIE)
    assert (tmp_path / "workers" / str(worker.pid)).exists()
    assert Workers(tmp_path).living() == 0
    worker.wait()


def test_a_worker_that_died_while_busy_is_not_busy(tmp_path: Path) -> None:
    code = f"""
import os, pathlib
from driftserve.runtime.activity import BusyMark
BusyMark(pathlib.Path({str(tmp_path)!r})).__enter__()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    future = time.monotonic() + 1000
    assert Workers(tmp_path).last_activity(future) < future
