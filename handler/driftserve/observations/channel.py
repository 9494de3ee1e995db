"""The channel from the workers to the monitor: a Unix datagram socket that never blocks a request."""

import contextlib
import errno
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from driftserve.observations.observation import Observation, encoded_batch, observation_to_bytes

logger = logging.getLogger(__name__)

SOCKET_FILE = "observations.sock"
_DATAGRAM_BYTES = 60_000  # most bytes of observations in a datagram; several fit into the kernel's default buffers
_BACKLOG = 256  # most observations that wait
_EXTRA_DATAGRAMS = 2  # most datagrams that one call sends in addition to those that its new observations need
_RETRY_SECONDS = 0.2
_MAX_DATAGRAM_BYTES = 1 << 20
# SO_SNDBUF limits the bytes of one datagram, and of all datagrams in the queue. Linux doubles the value (socket(7)).
# SO_RCVBUF has no effect on this socket (unix(7)).
_SEND_BUFFER_BYTES = _MAX_DATAGRAM_BYTES // 2


@dataclass(frozen=True)
class _Waiting:
    """An encoded observation that has not been sent yet."""

    answered_at: float
    encoded: bytes


class Sender:
    """The worker's end of the channel. It neither blocks nor raises.

    Observations wait if the kernel's queue is full or no monitor runs. The sender retries with the next `send`, or
    0.2 s later, the oldest observations first. At most 256 observations wait; older ones are dropped, and the next
    batch that arrives reports their number.
    """

    def __init__(
        self,
        path: Path,
        model: str,
        clock: Callable[[], float] = time.time,  # seconds since the epoch
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """Send to the monitor's socket at `path`; `model` is the key of the served model."""
        self._path = str(path)
        self._model = model
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._dropped = 0
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()  # used by the worker's thread and by the timer's
        self._retry_seconds = retry_seconds
        self._timer: threading.Timer | None = None

    def send(self, observations: tuple[Observation, ...]) -> None:
        """Send the waiting observations, then those of one server batch, in one datagram if they fit."""
        with self._lock:
            self._send(observations)
            if self._waiting and self._timer is None:  # the next request may be hours away
                self._start_timer()

    def close(self) -> None:
        """Close the connection. A later send opens a new one."""
        with self._lock:
            self._disconnect()

    def _start_timer(self) -> None:
        timer = threading.Timer(self._retry_seconds, self._retry)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # no more threads can be started; the next send tries again
            return
        self._timer = timer

    def _retry(self) -> None:
        with self._lock:
            self._timer = None
        self.send(())

    def _send(self, observations: tuple[Observation, ...]) -> None:
        now = self._clock() if observations else 0.0
        new = [_Waiting(now, observation_to_bytes(observation)) for observation in observations]
        self._waiting += new
        for datagram in _datagrams(self._waiting)[: len(_datagrams(new)) + _EXTRA_DATAGRAMS]:
            if not self._deliver(datagram):
                break
            del self._waiting[: len(datagram)]
        if (surplus := len(self._waiting) - _BACKLOG) > 0:
            del self._waiting[:surplus]
            self._dropped += surplus

    def _deliver(self, observations: Sequence[_Waiting]) -> bool:
        """Send one datagram; return whether its observations can leave the backlog.

        Observations that can never be sent leave the backlog, too, and are counted as dropped.
        """
        encoded = (observation.encoded for observation in observations)
        datagram = encoded_batch(self._model, observations[-1].answered_at, self._dropped, encoded)
        for _ in range(2):  # the second try is after a reconnect, since a restarted monitor has a new socket
            try:
                self._connect().send(datagram)
            except BlockingIOError:
                return False  # the kernel's queue is full
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    if self._dropped == 0:  # log only the first loss
                        logger.error("dropping observations: %d bytes do not fit into a datagram", len(datagram))
                    self._dropped += len(observations)
                    return True
                self._disconnect()
            else:
                self._dropped = 0
                return True
        return False

    def _connect(self) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            self._socket.connect(self._path)
        return self._socket

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _datagrams(observations: Sequence[_Waiting]) -> list[list[_Waiting]]:
    """Group the observations into datagrams, in order. One that is too long for a datagram has its own group."""
    datagrams: list[list[_Waiting]] = []
    size = _DATAGRAM_BYTES
    for observation in observations:
        size += len(observation.encoded) + 1
        if size > _DATAGRAM_BYTES:
            datagrams.append([])
            size = len(observation.encoded)
        datagrams[-1].append(observation)
    return datagrams


class Receiver:
    """The monitor's end of the channel."""

    def __init__(self, path: Path) -> None:
        """Listen at `path`. Replace the socket that an earlier monitor left there, if any."""
        path.unlink(missing_ok=True)
        self._path = path
        # The sockets after the first replace removed ones. Workers that are connected still send to the older ones.
        self._sockets: list[socket.socket] = []
        self._buffer = memoryview(bytearray(_MAX_DATAGRAM_BYTES))
        self._check_at = 0.0
        self._bind()

    def receive(self, timeout_seconds: float) -> bytes | None:
        """Return the next datagram, or None if none came in time."""
        if (now := time.monotonic()) >= self._check_at:
            self._check_at = now + _RETRY_SECONDS
            if not self._path.exists():  # somebody removed old files
                with contextlib.suppress(OSError):  # the directory is missing, too, until the monitor makes it again
                    self._bind()
        ready, _, _ = select.select(self._sockets, [], [], timeout_seconds)
        if not ready:
            return None
        return bytes(self._buffer[: ready[0].recv_into(self._buffer)])

    def close(self) -> None:
        """Stop listening."""
        for bound in self._sockets:
            bound.close()

    def _bind(self) -> None:
        new = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            os.fchmod(new.fileno(), 0o600)  # Linux gives the file of the socket this mode, less the umask
            new.bind(str(self._path))
        except OSError:
            new.close()
            raise
        self._sockets.append(new)


class Inbox:
    """A queue of datagrams from the receiving thread to the processing thread. Two threads need no lock here.

    Args:
        max_datagrams: Most datagrams that may be queued.
        max_bytes: Most bytes that may be queued.
    """

    def __init__(self, max_datagrams: int = 100_000, max_bytes: int = 64 << 20) -> None:
        self._max_datagrams = max_datagrams
        self._max_bytes = max_bytes
        self._datagrams: deque[bytes] = deque()
        self._bytes_put = self._bytes_taken = 0  # totals since the start; only one thread changes each

    def __len__(self) -> int:
        return len(self._datagrams)

    def put(self, datagram: bytes) -> bool:
        """Queue a datagram; return False if the queue is full and the datagram is lost."""
        waiting_bytes = self._bytes_put - self._bytes_taken
        if len(self) >= self._max_datagrams or waiting_bytes + len(datagram) > self._max_bytes:
            return False
        self._bytes_put += len(datagram)
        self._datagrams.append(datagram)
        return True

    def take(self) -> bytes:
        """Remove and return the oldest datagram. The queue must not be empty."""
        datagram = self._datagrams.popleft()
        self._bytes_taken += len(datagram)
        return datagram
