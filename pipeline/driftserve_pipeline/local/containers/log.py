"""The log of the containers of a run, as docker-compose and the SDK write it, made readable."""

import io
import re
from typing import TextIO

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CONTAINER = re.compile(r"^\S+-algo-\d+-\S+ +\| ?")  # before each line, by docker-compose
_REASON = re.compile(r"\bdriftserve_(?:pipeline\.steps|training): (.+)")  # a program's last words


class ContainerLog(io.TextIOBase):
    """A text stream that writes plain lines to a file as they come, and knows why the last step has failed."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._rest = ""
        self.reason: str | None = None
        """The last reason that a program of this step has given."""

    def begin(self, step: str) -> None:
        """Another step; what the one before has said is no reason of this one's."""
        self.reason = None
        self.write(f"== {step}\n")

    def write(self, text: str) -> int:
        """Take some text, of which whole lines are written."""
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
    r"""A line without colours and the container's name; of a progress bar its last state.

    >>> plain("\x1b[36mx1-algo-1-y2 |\x1b[0m \rchecking: 0%\rchecking: 100%\r")
    'checking: 100%'
    >>> plain("\x1b[36mx1-algo-1-y2 |\x1b[0m epoch=1 val_accuracy=0.5\r")
    'epoch=1 val_accuracy=0.5'
    """
    return _CONTAINER.sub("", _COLOURS.sub("", line).rstrip().rpartition("\r")[2])
