"""Unpack the images of a zip file safely: its names and sizes are not trusted."""

import lzma
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from stat import S_ISLNK

from tqdm import tqdm

from driftserve.errors import DataError
from driftserve.images.files import is_image_file
from driftserve_training.sources.staging import to_relative_path

# Largest total size of the unpacked images. The check trusts the sizes in the records, because zipfile never reads more
# bytes of a member than its record says.
MOST_BYTES = 50 * 2**30
_ENCRYPTED = 0x1  # flag of an encrypted member: bit 0 of the flags in APPNOTE.TXT 4.4.4


def unzip(file: Path, folder: Path, origin: str, most_bytes: int = MOST_BYTES) -> int:
    """Unpack the images and folders of a zip file; return the number of other files in it.

    Raises:
        DataError: the file is not a zip file; a member is corrupt, encrypted, duplicate, a link, or outside the
            folder; or the unpacked size is more than `most_bytes` or the free disk space.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            for member in members:
                _check(member, origin)
            images = [member for member in members if _is_image(member)]
            _check_size(images, folder, origin, most_bytes)
            for member in tqdm(members, desc="unpacking", unit="file"):
                _unpack(archive, member, folder, origin)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        # NotImplementedError: a rare compression method. UnicodeDecodeError: a name has the flag of UTF-8 and is not.
        raise DataError(f"{origin}: cannot read it as a zip file: {error}; fetch or pack it again") from error
    return sum(not member.is_dir() for member in members) - len(images)


def _check(member: zipfile.ZipInfo, origin: str) -> None:
    to_relative_path(member.filename, origin)
    if S_ISLNK(member.external_attr >> 16):
        raise DataError(f"{origin}: expected files, got the link {member.filename!r}; pack its target instead")
    if member.flag_bits & _ENCRYPTED:
        raise DataError(f"{origin}: {member.filename!r} is encrypted; pack it without encryption")


def _check_size(images: list[zipfile.ZipInfo], folder: Path, origin: str, most_bytes: int) -> None:
    number = sum(member.file_size for member in images)
    limit = min(most_bytes, shutil.disk_usage(folder).free)
    if number > limit:
        raise DataError(f"{origin}: expected at most {limit} bytes unpacked, got {number}; free space or pack less")


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, origin: str) -> None:
    target = folder / to_relative_path(member.filename, origin)
    try:
        directory = target if member.is_dir() else target.parent
        directory.mkdir(parents=True, exist_ok=True)
        if _is_image(member):
            with archive.open(member) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file)
    except FileExistsError as error:
        raise DataError(f"{origin}: expected each name once, got {member.filename!r} again; remove one") from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{origin}: the file {member.filename!r} is corrupt: {error}; pack it again") from error


def _is_image(member: zipfile.ZipInfo) -> bool:
    return not member.is_dir() and is_image_file(PurePosixPath(member.filename))
