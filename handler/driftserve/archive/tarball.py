"""Unpacks a `model.tar.gz` without trusting its file names, file types and sizes."""

import errno
import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, cast

from driftserve.archive.mar import MAX_ENTRIES, MAX_TOTAL_BYTES
from driftserve.errors import ArchiveError

_BLOCK_BYTES = 2**20
_MODEL_BYTES = MAX_TOTAL_BYTES + _BLOCK_BYTES  # an archive, and what tar adds to it
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full: the tarball may be fine


def unpack_tarball(packed: Path, folder: Path, most_bytes: int = _MODEL_BYTES, most_files: int = MAX_ENTRIES) -> Path:
    """Unpack a tarball into a new folder, and return the folder. The default limits are those of a served model.

    Args:
        packed: an untrusted file.
        folder: a folder that does not exist yet; its content is not usable after an error.
        most_bytes: limit of all bytes after decompression: the files, and what tar itself adds.
        most_files: limit of the number of files and folders in it.

    Raises:
        OSError: there is not enough disk space.
        ArchiveError: it is not a tarball, or it is damaged; a member is not a plain file, leads out of the folder or
            exists twice; or there are too many files or bytes.
    """
    try:
        folder.mkdir(parents=True)
        with gzip.open(packed) as stream, tarfile.TarFile(fileobj=_bounded(stream, most_bytes)) as tarball:
            for number, member in enumerate(tarball):
                if number >= most_files:
                    raise ArchiveError(f"expected at most {most_files} files, got more")
                _unpack(tarball, member, folder)
            while stream.read(_BLOCK_BYTES):  # gzip checks its checksum at its end, after the last byte that tar reads
                if stream.tell() > most_bytes:
                    raise _too_large(most_bytes)
    except ArchiveError as error:
        raise ArchiveError(f"{packed}: {error}") from error
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        if getattr(error, "errno", None) in _NO_ROOM:
            raise
        raise ArchiveError(f"{packed}: cannot be read as a model.tar.gz: {error}; make it again") from error
    return folder


class _Bounded:
    """A decompressed stream that ends with an error after `most_bytes`.

    It also refuses to read many bytes at once: tarfile reads the extended headers of a member into memory, whatever
    size they claim.
    """

    def __init__(self, stream: gzip.GzipFile, most_bytes: int) -> None:
        self._stream = stream
        self._most_bytes = most_bytes

    def read(self, size: int) -> bytes:
        if size > _BLOCK_BYTES:
            raise ArchiveError(f"expected headers of at most {_BLOCK_BYTES} bytes, got {size}")
        self._check(self._stream.tell() + size)
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        self._check(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, position: int) -> None:
        if position > self._most_bytes:
            raise _too_large(self._most_bytes)


def _bounded(stream: gzip.GzipFile, most_bytes: int) -> IO[bytes]:
    return cast(IO[bytes], _Bounded(stream, most_bytes))  # tarfile needs no more of a file


def _too_large(most_bytes: int) -> ArchiveError:
    return ArchiveError(f"expected at most {most_bytes} bytes unpacked, got more")


def _unpack(tarball: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise ArchiveError(f"expected plain files inside it, got {member.name!r}, which is a link or leads elsewhere")
    target = folder / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tarball.extractfile(member)
    with target.open("xb") as file:
        shutil.copyfileobj(source, file)  # type: ignore[arg-type]  # a file has content
