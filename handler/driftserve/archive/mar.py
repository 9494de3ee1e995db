"""Reads a MAR file (TorchServe's model archive, a zip file) as untrusted input, and rejects unusual files.

Two zip readers could read an unusual file differently. Python's zipfile reads the central directory, Java's
ZipInputStream reads the local headers in order, and the two ignore different errors. So only the simple layout that
torch-model-archiver writes is accepted: all entries in order from byte 0, each local header equal to its entry in the
central directory, then the central directory, then the end record. Flags, extra fields, comments and zip64 are
rejected. So are unsafe names, symbolic links, too many or too large entries, and suspicious compression ratios.
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
MAX_ENTRY_BYTES = 2_000_000_000  # Python's writer switches to zip64 at 2^31 / 1.05
MAX_TOTAL_BYTES = 2**31 - 1
# The most bytes of an entry for each of its compressed bytes. Weights have a ratio under 2, a zip bomb of zeros 1,000.
MAX_RATIO = 200

_MAX_DIRECTORY_BYTES = 64 * 1024
_BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 20  # bytes that the ratio allows on top: an entry this small is no zip bomb, whatever its ratio
# A plain relative path: no part starts with a dot or has more than 64 characters. So there is no absolute path, `..`,
# backslash, drive, NUL or control character.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63})*/?")
# The end record: signature, this disk, the central directory's disk, entries on this disk, entries in all, the central
# directory's size and offset, the comment's length.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\5\6"
_DIRECTORY_ENTRY_BYTES = 46  # size of an entry in the central directory, without its name


@dataclass(frozen=True)
class Mar:
    """An open MAR file with a checked structure. `entries` maps names to entries; some entries may be directories."""

    entries: Mapping[str, zipfile.ZipInfo]
    _file: BinaryIO

    @property
    def sizes(self) -> dict[str, int]:
        """Uncompressed bytes of each entry."""
        return {name: entry.file_size for name, entry in self.entries.items()}

    def read(self, name: str, most_bytes: int) -> bytes:
        """Return the content of an entry that has at most `most_bytes` bytes.

        Raises:
            ArchiveError: there is no such entry, it is too large, or its content does not match its header.
        """
        check_size(name, self.sizes, most_bytes)
        return b"".join(self.blocks(name))

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the content of an entry in blocks of at most 1 MiB, never more bytes in all than its header declares.

        Raises:
            ArchiveError: the content does not match the header; some blocks may already have been yielded.
        """
        entry = self.entries[name]
        compressed = self._compressed(entry)
        size = checksum = 0
        for block in _inflated(compressed) if entry.compress_type == zipfile.ZIP_DEFLATED else compressed:
            size += len(block)
            if size > entry.file_size:
                raise ArchiveError(f"{name}: expected {entry.file_size} bytes, as its header says, got more bytes")
            checksum = zlib.crc32(block, checksum)
            yield block
        if (size, checksum) != (entry.file_size, entry.CRC):
            raise ArchiveError(
                f"{name}: expected {entry.file_size} bytes with CRC {entry.CRC:08x}, got {size} with {checksum:08x}"
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
    """Open a MAR file for reading, after a check of its structure.

    An ArchiveError, OSError or zlib.error in the `with` block becomes an ArchiveError with the file's name.

    Raises:
        ArchiveError: the file cannot be read or is rejected; the message is one line that starts with the file's name.
    """
    try:
        with path.open("rb") as file:
            yield Mar({entry.filename: entry for entry in _checked_entries(file)}, file)
    except (ArchiveError, OSError, zlib.error) as error:
        raise ArchiveError(f"{path.name}: {one_line(error)}") from error


def check_size(name: str, sizes: Mapping[str, int], most_bytes: int) -> None:
    """Check that the entry exists and has at most `most_bytes` bytes.

    Raises:
        ArchiveError: it does not exist, or is larger.
    """
    if name not in sizes:
        raise ArchiveError(f"{name}: the archive does not have this file; export the archive with driftserve")
    if sizes[name] > most_bytes:
        raise ArchiveError(f"{name}: expected at most {most_bytes} bytes, got {sizes[name]}")


def _checked_entries(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """Return the entries, after all checks of their headers."""
    count, directory, directory_bytes = _read_end(file)
    try:
        with zipfile.ZipFile(file) as mar:
            entries = mar.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise ArchiveError(f"not a MAR archive (a zip file): {error}") from error
    for entry in entries:
        _check_entry(entry)
    listed_bytes = sum(_DIRECTORY_ENTRY_BYTES + len(entry.filename) for entry in entries)
    if (len(entries), mar.start_dir, listed_bytes) != (count, directory, directory_bytes):
        raise ArchiveError(
            f"expected {count} entries in {directory_bytes} bytes at {directory}, as the end of the zip file says, "
            f"got {len(entries)} in {listed_bytes} at {mar.start_dir}"
        )
    if len({entry.filename.rstrip("/").casefold() for entry in entries}) != count:
        raise ArchiveError(
            "expected names that differ in more than upper and lower case, got "
            f"{', '.join(sorted(entry.filename for entry in entries))}"
        )
    if (total := sum(entry.file_size for entry in entries)) > MAX_TOTAL_BYTES:
        raise ArchiveError(f"expected at most {MAX_TOTAL_BYTES} bytes unpacked, got {total}")
    _check_local_headers(file, entries, directory)
    return entries


def _read_end(file: BinaryIO) -> tuple[int, int, int]:
    """Return the number of entries, and the central directory's offset and size in bytes, from the end record."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size))
    record = file.read(_END.size)
    if len(record) < _END.size or not record.startswith(_END_SIGNATURE):
        raise ArchiveError(
            f"not a MAR archive (a zip file): its {size} bytes do not end with a zip's end record, without a comment"
        )
    _, disk, directory_disk, entries_here, entries, directory_bytes, directory, comment_bytes = _END.unpack(record)
    if entries > MAX_ENTRIES or directory_bytes > _MAX_DIRECTORY_BYTES:
        raise ArchiveError(
            f"expected at most {MAX_ENTRIES} entries, listed in at most {_MAX_DIRECTORY_BYTES} bytes, "
            f"got {entries} in {directory_bytes}"
        )
    if (disk, directory_disk, entries_here, comment_bytes) != (0, 0, entries, 0):
        raise ArchiveError(
            "expected a zip file in one part and without a comment, got an end record with disks "
            f"{disk} and {directory_disk}, {entries_here} of {entries} entries, and a comment of {comment_bytes} bytes"
        )
    if (end := directory + directory_bytes + _END.size) != size:
        raise ArchiveError(f"expected {end} bytes, as the end of the zip file says, got {size}")
    return entries, directory, directory_bytes


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Check an entry of the central directory: a regular file, or an empty directory if its name ends with `/`."""
    name = entry.orig_filename  # `filename` ends at the first NUL
    is_directory = name.endswith("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    largest = max(entry.file_size, entry.compress_size)
    for accepted, expected, got in (
        (
            _NAME.fullmatch(name),
            "a plain relative path of letters, digits, '.', '_' and '-', whose parts have at most 64 characters and do "
            "not start with '.'",
            "this name",
        ),
        (
            kind in (0, stat.S_IFDIR if is_directory else stat.S_IFREG),
            "a regular file, or a directory if the name ends in '/'",
            f"the mode {kind:#o}",
        ),
        (entry.flag_bits == 0, "no encryption and no other flag", f"the flags {entry.flag_bits:#06x}"),
        (
            entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED),
            "compression method 0 or 8",
            entry.compress_type,
        ),
        (
            not entry.extra and not entry.comment,
            "no extra field and no comment",
            f"an extra field of {len(entry.extra)} bytes and a comment of {len(entry.comment)}",
        ),
        (largest <= MAX_ENTRY_BYTES, f"at most {MAX_ENTRY_BYTES} bytes", largest),
        (not is_directory or largest == 0, "an empty directory entry", f"{largest} bytes"),
        (
            entry.file_size <= _SMALL_BYTES + MAX_RATIO * entry.compress_size,
            f"at most {MAX_RATIO} times its compressed bytes and 1 MiB on top",
            f"{entry.file_size} bytes from {entry.compress_size}",
        ),
    ):
        if not accepted:
            raise ArchiveError(f"{name[:80]!a}: expected {expected}, got {got}")


def _check_local_headers(file: BinaryIO, entries: Iterable[zipfile.ZipInfo], directory: int) -> None:
    """Check that the local headers equal the central directory's entries, in order and without gaps."""
    position = 0
    for entry in entries:
        header = entry.FileHeader(zip64=False)
        file.seek(position)
        if entry.header_offset != position or file.read(len(header)) != header:
            raise ArchiveError(
                f"{entry.filename}: expected a local header at byte {position}, equal to the central directory's "
                "entry, got other bytes"
            )
        position += len(header) + entry.compress_size
    if position != directory:
        raise ArchiveError(
            f"expected the central directory after the last entry, at byte {position}, got byte {directory}"
        )


def _inflated(compressed: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a raw deflate stream, which must end exactly where the compressed bytes end."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for waiting in compressed:
        block = inflater.decompress(waiting, _BLOCK_BYTES)
        yield block
        while inflater.unconsumed_tail or len(block) == _BLOCK_BYTES:
            block = inflater.decompress(inflater.unconsumed_tail, _BLOCK_BYTES)
            yield block
        if inflater.unused_data:
            raise ArchiveError("expected no bytes after the compressed stream, got more")
    if not inflater.eof:
        raise ArchiveError("expected a complete compressed stream, got a truncated one")
