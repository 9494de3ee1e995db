"""Unpack a `model.tar.gz` without trusting its file names, file types and sizes."""

import errno
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from driftserve_pipeline.errors import PipelineError

MOST_BYTES = 20 * 2**30
MOST_FILES = 10_000
_BLOCK_BYTES = 2**20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full: the tarball may be fine


def unpack(packed: Path, folder: Path, most_bytes: int = MOST_BYTES) -> Path:
    """Unpack the tarball into a new folder, and return the folder.

    Raises:
        OSError: there is not enough disk space.
        PipelineError: it is not a tarball, or it is damaged; a member is not a plain file, leads out of the folder or
            exists twice; or there are too many files or bytes.
    """
    try:
        folder.mkdir(parents=True)
        with tarfile.open(packed, "r:gz") as tarball:
            left = most_bytes
            for number, member in enumerate(tarball):
                left -= member.size
                if left < 0 or number >= MOST_FILES:
                    raise PipelineError(
                        f"{packed}: expected at most {MOST_FILES} files and {most_bytes} bytes, got more"
                    )
                _unpack(tarball, member, folder, packed)
            _read_to_end(tarball)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if getattr(error, "errno", None) in _NO_ROOM:
            raise
        raise PipelineError(f"{packed}: cannot be read as a model.tar.gz: {error}; make it again") from error
    return folder


def _unpack(tarball: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, packed: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise PipelineError(
            f"{packed}: expected plain files inside it, got {member.name!r}, which is a link or leads elsewhere"
        )
    target = folder / path
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tarball.extractfile(member)
    with target.open("xb") as file:
        shutil.copyfileobj(source, file)  # type: ignore[arg-type]  # a file has content


def _read_to_end(tarball: tarfile.TarFile) -> None:
    """Read to the end, where gzip checks its checksum. The checksum lies after the last byte that tar reads."""
    while tarball.fileobj and tarball.fileobj.read(_BLOCK_BYTES):
        pass
