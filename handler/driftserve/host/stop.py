"""A stop flag that signal handlers can set safely."""

import signal
import time

_LOOK_SECONDS = 0.05


class StopFlag:
    """A flag that signal handlers set and loops check.

    This is not a `threading.Event`, whose lock is not reentrant. A handler that interrupts `wait` or `set` in the same
    thread, and then calls `set`, would wait for ever.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Request a stop. Further calls change nothing."""
        self._is_set = True

    def is_set(self) -> bool:
        """Return whether a stop was requested."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait for a stop request, at most `seconds`; return whether there was one."""
        deadline = time.monotonic() + seconds
        while not self._is_set and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
        return self._is_set


def stop_at(*signals: signal.Signals) -> StopFlag:
    """Return a flag that these signals set from now on, in this process."""
    flag = StopFlag()
    for number in signals:
        signal.signal(number, lambda *_: flag.set())
    return flag
