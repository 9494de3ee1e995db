"""Make the log of a run's containers, which docker-compose and the SDK write, readable."""

import io
import re
from typing import TextIO

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CONTAINER = re.compile(r"^\S+-algo-\d+-\S+ +\| ?")  # the prefix of each line, by docker-compose
# The line in which a program says why it failed.
_REASON = re.compile(r"\bdriftserve_(?:pipeline\.steps|training): (.+)")


class ContainerLog(io.TextIOBase):
    """A text stream that writes plain lines to a file as they come, and remembers why a step failed."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._rest = ""
        self.reason: str | None = None
        """The last reason that a program of this step gave."""

    def begin(self, step: str) -> None:
        """Start another step, and forget the reason of the previous one."""
        self.reason = None
        self.write(f"== {step}\n")

    def write(self, text: str) -> int:
        """Accept some text, and write its complete lines to the file."""
        *lines, self._rest = f"{self._rest}{text}".split("\n")
        for line in lines:
            shown = plain(line)
            if found := _REASON.search(shown):
                self.reason = found[1]
            self._file.write(f"{shown}\n")
        if lines:
            self._file.flush()
        return len(text)


def plain(line: str) -> str:
    r"""Return a line without colours and the container's name. Of a progress bar, keep the last state.

    >>> plain("\x1b[36mx1-algo-1-y2 |\x1b[0m \rchecking: 0%\rchecking: 100%\r")
    'checking: 100%'
    >>> plain("\x1b[36mx1-algo-1-y2 |\x1b[0m epoch=1 val_accuracy=0.5\r")
    'epoch=1 val_accuracy=0.5'
    """
    return _CONTAINER.sub("", _COLOURS.sub("", line).rstrip().rpartition("\r")[2])
