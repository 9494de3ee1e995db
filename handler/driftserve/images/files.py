"""Finds the image files of a folder by their names."""

from collections.abc import Sequence
from pathlib import Path, PurePath

from driftserve.errors import DataError
from driftserve.images.decode import MEDIA_TYPES
from driftserve.text import is_utf8


def is_image_file(path: PurePath) -> bool:
    """Return whether a path has the suffix of an image and no part that begins with a dot.

    macOS writes `._sea.jpg` beside `sea.jpg`; it has the suffix, but no image. Notebooks keep copies in
    `.ipynb_checkpoints/`.

    >>> is_image_file(PurePath("train/sea/1.JPG")), is_image_file(PurePath("train/sea/._1.jpg"))
    (True, False)
    """
    return path.suffix.lower() in MEDIA_TYPES and not any(part.startswith(".") for part in path.parts)


def find_images(folder: Path, pattern: str) -> list[Path]:
    """Return the image files of a folder that match a glob pattern, sorted.

    Raises:
        DataError: the name of an image, or of a folder on the way to it, is not UTF-8.
    """
    found = {path: path.relative_to(folder) for path in sorted(folder.glob(pattern))}
    images = {path: name for path, name in found.items() if is_image_file(name)}
    check_names(folder, list(images.values()))
    return list(images)


def check_names(folder: Path, names: Sequence[PurePath]) -> None:
    """Check that names in a folder are UTF-8, because they become text in manifests, archives and answers.

    Raises:
        DataError: one is not; the message has the first of them.
    """
    if others := [name for name in names if not is_utf8(str(name))]:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise DataError(
            f"{folder}: expected names in UTF-8, got {others[0]}{more}; rename them, for example with convmv"
        )
