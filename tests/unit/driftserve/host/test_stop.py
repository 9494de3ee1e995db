import os
import signal
import subprocess
import sys
import time

from driftserve.host.stop import StopFlag

WAITS_UNTIL_STOPPED = """
import signal, time
from driftserve.host.stop import stop_at
flag = stop_at(signal.SIGTERM, signal.SIGINT)
print("ready", flush=True)
while not flag.wait(0.001):
    pass
time.sleep(0.05)
"""


def test_a_flag_is_set_once_and_stays_set() -> None:
    flag = StopFlag()
    assert not flag.is_set()
    assert not flag.wait(0.01)
    flag.set()
    flag.set()
    assert flag.wait(60)


def test_a_burst_of_signals_during_a_wait_stops_once() -> None:
    # With a threading.Event, about one in fifteen of these processes hangs for ever.
    for _ in range(20):
        with subprocess.Popen([sys.executable, "-c", WAITS_UNTIL_STOPPED], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            for number in (signal.SIGINT, signal.SIGTERM) * 5:
                os.kill(process.pid, number)
                time.sleep(0.0001)
            assert process.wait(20) == 0
