"""The wish to stop, as a signal says it."""

import signal
import time

_LOOK_SECONDS = 0.05


class StopFlag:
    """A flag that signal handlers set and loops look at.

    Not a `threading.Event`: its lock is not reentrant, so a handler that interrupts `wait`, or another `set`, in the
    same thread waits for itself for ever.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Wish to stop; a second time changes nothing."""
        self._is_set = True

    def is_set(self) -> bool:
        """Whether somebody wished to stop."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Whether somebody wished to stop before that time had passed."""
        deadline = time.monotonic() + seconds
        while not self._is_set and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
        return self._is_set


def stop_at(*signals: signal.Signals) -> StopFlag:
    """A flag that these signals set from now on, in this process."""
    flag = StopFlag()
    for number in signals:
        signal.signal(number, lambda *_: flag.set())
    return flag
