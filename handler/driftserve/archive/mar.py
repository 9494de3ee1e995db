"""A MAR file read as if it were hostile: a zip that means one thing to every reader, or a refusal.

Python's zipfile reads the central directory, Java's ZipInputStream the local headers in order, and each forgives
other faults. So only the plain layout that torch-model-archiver writes is taken: entry after entry from byte 0, each
local header as the directory has it, then the directory, then the end; no flags, extra fields, comments or zip64.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from driftserve.errors import ArchiveError
from driftserve.text import one_line

MAX_ENTRIES = 64
MAX_ENTRY_BYTES = 2_000_000_000  # Python's writer turns to zip64 at 2^31 / 1.05
MAX_TOTAL_BYTES = 2**31 - 1
MAX_RATIO = 200  # of an entry to its compressed bytes; weights stay under 2, a bomb of zeros reaches 1,000

_MAX_DIRECTORY_BYTES = 64 * 1024
_BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 20  # an entry this small is no bomb, whatever its ratio
# Parts that begin with no dot: so neither absolute nor `..`, and no backslash, drive, NUL or control character.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63})*/?")
# Signature, this disk, the directory's disk, entries here, entries, directory's size, its offset, comment's length.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\5\6"
_DIRECTORY_ENTRY_BYTES = 46  # less the name


@dataclass(frozen=True)
class Mar:
    """An open MAR file whose structure was checked; `entries` by name, the directories among them."""

    entries: Mapping[str, zipfile.ZipInfo]
    _file: BinaryIO

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each entry, unpacked."""
        return {name: entry.file_size for name, entry in self.entries.items()}

    def read(self, name: str, most_bytes: int) -> bytes:
        """The content of a small entry.

        Raises:
            ArchiveError: there is no such entry, it is longer, or its content is not what its header says.
        """
        check_size(name, self.sizes, most_bytes)
        return b"".join(self.blocks(name))

    def blocks(self, name: str) -> Iterator[bytes]:
        """The content of an entry, in blocks of at most 1 MiB: never more of them than the header declares.

        Raises:
            ArchiveError: the content is not what the header says; the blocks before it came all the same.
        """
        entry = self.entries[name]
        compressed = self._compressed(entry)
        size = checksum = 0
        for block in _inflated(compressed) if entry.compress_type == zipfile.ZIP_DEFLATED else compressed:
            size += len(block)
            if size > entry.file_size:
                raise ArchiveError(f"{name}: expected {entry.file_size} bytes, as its header says, got more")
            checksum = zlib.crc32(block, checksum)
            yield block
        if (size, checksum) != (entry.file_size, entry.CRC):
            raise ArchiveError(
                f"{name}: expected {entry.file_size} bytes of CRC {entry.CRC:08x}, got {size} of {checksum:08x}"
            )

    def _compressed(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        self._file.seek(entry.header_offset + len(entry.FileHeader(zip64=False)))
        left = entry.compress_size
        while left:
            block = self._file.read(min(left, _BLOCK_BYTES))
            if not block:
                raise ArchiveError(f"{entry.filename}: expected {left} more bytes, got the end of the file")
            left -= len(block)
            yield block


@contextmanager
def open_mar(path: Path) -> Iterator[Mar]:
    """A MAR file, open for reading; every error of it becomes one line that begins with the file's name.

    Raises:
        ArchiveError: the file cannot be read, or its structure is refused.
    """
    try:
        with path.open("rb") as file:
            yield Mar({entry.filename: entry for entry in _checked_entries(file)}, file)
    except (ArchiveError, OSError, zlib.error) as error:
        raise ArchiveError(f"{path.name}: {one_line(error)}") from error


def check_size(name: str, sizes: Mapping[str, int], most_bytes: int) -> None:
    """Pass if there is an entry of that name, and it is small.

    Raises:
        ArchiveError: there is none, or it has more bytes.
    """
    if name not in sizes:
        raise ArchiveError(f"{name}: expected an archive that driftserve wrote, got none of this name")
    if sizes[name] > most_bytes:
        raise ArchiveError(f"{name}: expected at most {most_bytes} bytes, got {sizes[name]}")


def _checked_entries(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """The entries, after everything that their headers say was accepted."""
    count, directory, directory_bytes = _read_end(file)
    try:
        with zipfile.ZipFile(file) as mar:
            entries = mar.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise ArchiveError(f"expected a MAR archive (a zip file), got {error}") from error
    for entry in entries:
        _check_entry(entry)
    listed_bytes = sum(_DIRECTORY_ENTRY_BYTES + len(entry.filename) for entry in entries)
    if (len(entries), mar.start_dir, listed_bytes) != (count, directory, directory_bytes):
        raise ArchiveError(
            f"expected {count} entries in {directory_bytes} bytes at {directory}, as the end of the zip file says, "
            f"got {len(entries)} in {listed_bytes} at {mar.start_dir}"
        )
    if len({entry.filename.rstrip("/").casefold() for entry in entries}) != count:
        raise ArchiveError(f"expected distinct names, got {', '.join(sorted(entry.filename for entry in entries))}")
    if (total := sum(entry.file_size for entry in entries)) > MAX_TOTAL_BYTES:
        raise ArchiveError(f"expected at most {MAX_TOTAL_BYTES} bytes unpacked, got {total}")
    _check_local_headers(file, entries, directory)
    return entries


def _read_end(file: BinaryIO) -> tuple[int, int, int]:
    """How many entries the directory has, where it begins, and its bytes, from the file's last bytes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size))
    record = file.read(_END.size)
    if len(record) < _END.size or not record.startswith(_END_SIGNATURE):
        raise ArchiveError(
            f"expected a MAR archive (a zip file with nothing after its end), got {size} bytes that end otherwise"
        )
    _, disk, directory_disk, entries_here, entries, directory_bytes, directory, comment_bytes = _END.unpack(record)
    if entries > MAX_ENTRIES or directory_bytes > _MAX_DIRECTORY_BYTES:
        raise ArchiveError(
            f"expected at most {MAX_ENTRIES} entries, listed in at most {_MAX_DIRECTORY_BYTES} bytes, "
            f"got {entries} in {directory_bytes}"
        )
    if (disk, directory_disk, entries_here, comment_bytes) != (0, 0, entries, 0):
        raise ArchiveError("expected a zip file of one part without a comment, got another")
    if (end := directory + directory_bytes + _END.size) != size:
        raise ArchiveError(f"expected {end} bytes, as the end of the zip file says, got {size}")
    return entries, directory, directory_bytes


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Pass if this is an ordinary file, or directory, in the directory entry's own words."""
    name = entry.orig_filename  # `filename` ends at the first NUL
    is_directory = name.endswith("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    largest = max(entry.file_size, entry.compress_size)
    for accepted, expected, got in (
        (_NAME.fullmatch(name), "a plain relative path of letters, digits, '.', '_' and '-'", "another"),
        (kind in (0, stat.S_IFDIR if is_directory else stat.S_IFREG), "a regular file", f"the mode {kind:#o}"),
        (entry.flag_bits == 0, "neither encryption nor any other flag", f"the flags {entry.flag_bits:#06x}"),
        (entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED), "method 0 or 8", entry.compress_type),
        (not entry.extra and not entry.comment, "no extra field and no comment", "one"),
        (largest <= MAX_ENTRY_BYTES, f"at most {MAX_ENTRY_BYTES} bytes", largest),
        (not is_directory or largest == 0, "an empty directory entry", f"{largest} bytes"),
        (
            entry.file_size <= _SMALL_BYTES + MAX_RATIO * entry.compress_size,
            f"at most {MAX_RATIO} times its compressed bytes",
            f"{entry.file_size} of {entry.compress_size}",
        ),
    ):
        if not accepted:
            raise ArchiveError(f"{name[:80]!a}: expected {expected}, got {got}")


def _check_local_headers(file: BinaryIO, entries: Iterable[zipfile.ZipInfo], directory: int) -> None:
    """Pass if the local headers, one after the other, say what the directory says, with nothing between them."""
    position = 0
    for entry in entries:
        header = entry.FileHeader(zip64=False)
        file.seek(position)
        if entry.header_offset != position or file.read(len(header)) != header:
            raise ArchiveError(
                f"{entry.filename}: expected its local header at byte {position} as the directory has it, got another"
            )
        position += len(header) + entry.compress_size
    if position != directory:
        raise ArchiveError(f"expected the directory after the last entry, at byte {position}, got {directory}")


def _inflated(compressed: Iterable[bytes]) -> Iterator[bytes]:
    """What a raw deflate stream holds, where the stream ends with the compressed bytes, not before or after."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for waiting in compressed:
        block = inflater.decompress(waiting, _BLOCK_BYTES)
        yield block
        while inflater.unconsumed_tail or len(block) == _BLOCK_BYTES:
            block = inflater.decompress(inflater.unconsumed_tail, _BLOCK_BYTES)
            yield block
        if inflater.unused_data:
            raise ArchiveError("expected the end of the compressed bytes where their stream ends, got more of them")
    if not inflater.eof:
        raise ArchiveError("expected a whole compressed stream, got one that breaks off")
