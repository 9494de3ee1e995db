import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from driftserve.runtime.activity import BusyMark, last_activity, last_finished, living_workers
from processes import wait_for


def test_the_last_activity_is_zero_before_any_worker_starts(tmp_path: Path) -> None:
    assert last_activity(tmp_path, 100.0) == 0.0


def test_a_worker_is_busy_until_its_batch_ends(tmp_path: Path) -> None:
    mark = BusyMark(tmp_path)
    future = time.time() + 1000
    with mark:
        assert last_activity(tmp_path, future) == future
    assert abs(last_activity(tmp_path, future) - time.time()) < 60


def test_a_batch_between_two_checks_is_noticed(tmp_path: Path) -> None:
    mark = BusyMark(tmp_path)
    os.utime(tmp_path / "workers" / str(os.getpid()), (5.0, 5.0))
    assert last_activity(tmp_path, time.time()) == last_finished(tmp_path) == 5.0
    with mark:
        assert last_finished(tmp_path) == 5.0
    assert last_finished(tmp_path) > 5.0


def test_workers_count_as_live_by_their_process_id(tmp_path: Path) -> None:
    assert living_workers(tmp_path) == 0
    BusyMark(tmp_path)
    (tmp_path / "workers" / "9999999").touch()
    assert living_workers(tmp_path) == 1


def test_a_zombie_worker_does_not_count_as_live(tmp_path: Path) -> None:
    code = (
        f"import pathlib; from driftserve.runtime.activity import BusyMark; BusyMark(pathlib.Path({str(tmp_path)!r}))"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_ZOMBIE)
    assert (tmp_path / "workers" / str(worker.pid)).exists()
    assert living_workers(tmp_path) == 0
    worker.wait()


def test_a_worker_that_died_while_busy_is_not_busy(tmp_path: Path) -> None:
    code = f"""
import os, pathlib
from driftserve.runtime.activity import BusyMark
BusyMark(pathlib.Path({str(tmp_path)!r})).__enter__()
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    future = time.time() + 1000
    assert last_activity(tmp_path, future) < future
