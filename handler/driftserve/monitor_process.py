"""The monitor as a process: drains the channel, keeps the status fresh, publishes every period."""

import logging
import queue
import sys
import threading
import time
from pathlib import Path

from driftserve.channel import SOCKET_FILE, Receiver
from driftserve.errors import MonitorError
from driftserve.monitor import Monitor
from driftserve.observation import batch_from_bytes
from driftserve.publisher import Publisher
from driftserve.runtime import lock_runtime, write_status

logger = logging.getLogger(__name__)

_MAX_WAITING_DATAGRAMS = 100_000
_STATUS_INTERVAL_SECONDS = 0.2
_LAST_CALL_SECONDS = 0.5
_FLUSH_TIMEOUT_SECONDS = 5.0
# While the main thread computes, the receiving one gets its turn after this long: ten datagrams
# a default interval (5 ms) each would overflow the kernel's queue at a few hundred a second.
_SWITCH_INTERVAL_SECONDS = 0.0005


class MonitorProcess:
    """Runs a monitor until it is told to stop.

    The receiving thread only drains the socket, whose kernel queue holds ten datagrams
    (net.unix.max_dgram_qlen); tests and metrics happen on the main thread, sinks on a third.
    """

    def __init__(self, monitor: Monitor, publisher: Publisher, runtime_dir: Path, period_seconds: float) -> None:
        self._monitor = monitor
        self._publisher = publisher
        self._runtime_dir = runtime_dir
        self._period_seconds = period_seconds
        self._datagrams: queue.Queue[bytes] = queue.Queue(_MAX_WAITING_DATAGRAMS)

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set; then take in what has arrived, publish it and return.

        Raises:
            MonitorError: another monitor runs in the runtime directory, or the receiving thread died.
        """
        sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
        with lock_runtime(self._runtime_dir):
            receiver = Receiver(self._runtime_dir / SOCKET_FILE)
            drain = threading.Thread(target=self._drain, args=(receiver, stop), name="receiver", daemon=True)
            drain.start()
            write_status(self._runtime_dir, self._monitor.status())
            self._watch(stop, drain)
            drain.join()
            self._take_in()
            receiver.close()
            self._publisher.publish(self._monitor.collect(time.time()))
            self._publisher.close(_FLUSH_TIMEOUT_SECONDS)
            write_status(self._runtime_dir, self._monitor.status())

    def _drain(self, receiver: Receiver, stop: threading.Event) -> None:
        leave_at = None
        while leave_at is None or time.monotonic() < leave_at:
            datagram = receiver.receive(_STATUS_INTERVAL_SECONDS)
            if stop.is_set() and leave_at is None:  # what is on its way still counts, but traffic may never end
                leave_at = time.monotonic() + _LAST_CALL_SECONDS
            if datagram is None:
                continue
            try:
                self._datagrams.put_nowait(datagram)
            except queue.Full:
                logger.error("a datagram is lost: %d wait to be taken in", _MAX_WAITING_DATAGRAMS)

    def _watch(self, stop: threading.Event, drain: threading.Thread) -> None:
        next_period = time.monotonic() + self._period_seconds
        while not stop.wait(_STATUS_INTERVAL_SECONDS):
            if not drain.is_alive():
                raise MonitorError("the receiving thread ended; its traceback is in the log above")
            if self._take_in():
                write_status(self._runtime_dir, self._monitor.status())
            if time.monotonic() >= next_period:
                self._publisher.publish(self._monitor.collect(time.time()))
                next_period = time.monotonic() + self._period_seconds

    def _take_in(self) -> int:
        """Hand the waiting datagrams to the monitor; the number of them."""
        taken = 0
        while True:
            try:
                datagram = self._datagrams.get_nowait()
            except queue.Empty:
                return taken
            taken += 1
            try:
                self._monitor.observe(batch_from_bytes(datagram))
            except ValueError:
                logger.exception("a datagram was not understood")
