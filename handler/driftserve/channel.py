"""The way from the workers to the monitor: a Unix datagram socket that never blocks a request."""

import logging
import socket
from pathlib import Path

from driftserve.observation import Observation, ObservationBatch, batch_to_bytes

logger = logging.getLogger(__name__)

SOCKET_FILE = "observations.sock"
_MAX_DATAGRAM_BYTES = 1 << 20


class Sender:
    """A worker's end. What cannot be delivered at once is dropped and counted."""

    def __init__(self, path: Path, model: str) -> None:
        """Send to the monitor at `path` in the name of the archive digest `model`."""
        self._path = str(path)
        self._model = model
        self._dropped = 0
        self._socket: socket.socket | None = None

    def send(self, observations: tuple[Observation, ...]) -> None:
        """Send the observations of one server batch as one datagram."""
        datagram = batch_to_bytes(ObservationBatch(self._model, observations, self._dropped))
        if self._deliver(datagram):
            self._dropped = 0
        else:
            self._dropped += len(observations)

    def _deliver(self, datagram: bytes) -> bool:
        for _ in range(2):  # once more after a reconnect: a restarted monitor has a new socket
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                    self._socket.setblocking(False)
                    self._socket.connect(self._path)
                self._socket.send(datagram)
                return True
            except BlockingIOError:
                return False  # the kernel's queue is full
            except OSError:
                self._disconnect()
        return False

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Receiver:
    """The monitor's end."""

    def __init__(self, path: Path) -> None:
        """Listen at `path`; a socket that is left there from before is replaced."""
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def receive(self, timeout_seconds: float) -> bytes | None:
        """The next datagram, or None when none came in time."""
        self._socket.settimeout(timeout_seconds)
        try:
            return self._socket.recv(_MAX_DATAGRAM_BYTES)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
