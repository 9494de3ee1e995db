import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from processes import is_alive, wait_for

# A command that starts a child process and leaves it running, as MMS does.
LEAVES_A_CHILD = "import subprocess, sys; subprocess.Popen(['sleep', '60']); {then}"
IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


def _guard(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "driftserve.host.guard", str(os.getpid()), sys.executable, "-c", code]
    )


def _family(guard: "subprocess.Popen[bytes]", number: int) -> list[psutil.Process]:
    def children() -> list[psutil.Process] | None:
        found = psutil.Process(guard.pid).children(recursive=True)
        return found if len(found) == number else None

    return wait_for(children, 20)


def test_the_guard_exits_with_the_status_of_the_command() -> None:
    assert _guard("raise SystemExit(7)").wait(20) == 7


def test_a_killed_command_gives_the_same_status_as_in_a_shell() -> None:
    assert _guard("import os; os.kill(os.getpid(), 9)").wait(20) == 137


def test_processes_that_the_command_leaves_running_are_killed() -> None:
    guard = _guard(LEAVES_A_CHILD.format(then="import time; time.sleep(2)"))
    family = _family(guard, 2)
    assert guard.wait(20) == 0
    assert not any(is_alive(process) for process in family)


def test_sigterm_stops_the_command_and_its_children() -> None:
    guard = _guard(LEAVES_A_CHILD.format(then="import time; time.sleep(60)"))
    family = _family(guard, 2)
    guard.terminate()
    assert guard.wait(20) == 128 + signal.SIGTERM
    assert not any(is_alive(process) for process in family)


def test_the_death_of_the_parent_stops_the_command() -> None:
    code = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "driftserve.host.guard", str(os.getpid()), "sleep", "60"])
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    family = _family(parent, 2)
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(is_alive(process) for process in family), 20)


def test_the_death_of_the_guard_stops_the_command() -> None:
    guard = _guard("import time; time.sleep(60)")
    (command,) = _family(guard, 1)
    wait_for(lambda: "time.sleep(60)" in command.cmdline()[-1], 10)
    guard.kill()
    guard.wait()
    wait_for(lambda: not is_alive(command), 20)


def test_a_command_that_does_not_stop_is_killed_after_a_timeout(capfd: pytest.CaptureFixture[str]) -> None:
    guard = _guard(IGNORES_SIGTERM)
    (command,) = _family(guard, 1)
    wait_for(lambda: "deaf" in capfd.readouterr().out, 20)
    began_at = time.monotonic()
    guard.terminate()
    assert guard.wait(30) == 137
    assert time.monotonic() - began_at > 4
    assert not is_alive(command)
    assert "did not stop in 5.0 s: killed" in capfd.readouterr().err


def test_orphans_are_adopted_and_ended() -> None:
    code = """
import subprocess, sys, time
from driftserve.host.guard import adopt_orphans, end_children
adopt_orphans()
subprocess.run([sys.executable, "-c", "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"])
end_children()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert not psutil.pid_exists(int(done.stdout))
