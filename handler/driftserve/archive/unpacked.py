"""Reads a directory with an unpacked MAR as untrusted input: only a few regular files of limited size are accepted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from driftserve.archive.mar import MAX_ENTRIES, MAX_TOTAL_BYTES, check_size
from driftserve.errors import ArchiveError
from driftserve.text import one_line

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Unpacked:
    """The files below a directory. `sizes` maps each name, which is the same as in the MAR, to the size in bytes."""

    directory: Path
    sizes: Mapping[str, int]

    def read(self, name: str, most_bytes: int) -> bytes:
        """Return the content of a file that has at most `most_bytes` bytes.

        Raises:
            ArchiveError: there is no such file, or it is too large.
        """
        check_size(name, self.sizes, most_bytes)
        return b"".join(self.blocks(name))

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file in blocks of at most 1 MiB, never more bytes in all than its size in `sizes`.

        Raises:
            ArchiveError: the file's size has changed.
        """
        left = self.sizes[name]
        with (self.directory / name).open("rb") as file:
            while block := file.read(min(_BLOCK_BYTES, left + 1)):
                left -= len(block)
                if left < 0:
                    break
                yield block
        if left:
            raise ArchiveError(f"{name}: its size has changed from {self.sizes[name]} bytes since the check began")


@contextmanager
def open_unpacked(directory: Path) -> Iterator[Unpacked]:
    """List the files below a directory, for reading. Errors in the `with` block get the directory's name.

    Names that begin with a dot, such as macOS's `._model.pt`, are left out: nothing serves or imports them.

    Raises:
        ArchiveError: the directory cannot be read, or has anything but a few regular files; the message is one line
            that starts with the directory's name.
    """
    try:
        yield Unpacked(directory, _sizes(directory))
    except (ArchiveError, OSError) as error:
        raise ArchiveError(f"{directory.name}: {one_line(error)}") from error


def _sizes(directory: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    waiting = [directory]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.name.startswith("."):
                continue
            name = str(path.relative_to(directory))
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ArchiveError(f"{name}: expected a regular file, got a link or a special file")
            if path.is_dir():
                waiting.append(path)
            else:
                sizes[name] = path.stat().st_size
            if len(sizes) + len(waiting) > MAX_ENTRIES:
                raise ArchiveError(f"expected at most {MAX_ENTRIES} files, got more")
    if (total := sum(sizes.values())) > MAX_TOTAL_BYTES:
        raise ArchiveError(f"expected at most {MAX_TOTAL_BYTES} bytes unpacked, got {total}")
    return sizes
