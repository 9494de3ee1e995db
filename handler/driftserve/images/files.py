"""Finds the image files of a folder by their names."""

from pathlib import Path, PurePath

from driftserve.images.decode import MEDIA_TYPES


def is_image_file(path: PurePath) -> bool:
    """Return whether a path has the suffix of an image and no part that begins with a dot.

    macOS writes `._sea.jpg` beside `sea.jpg`; it has the suffix, but no image. Notebooks keep copies in
    `.ipynb_checkpoints/`.

    >>> is_image_file(PurePath("train/sea/1.JPG")), is_image_file(PurePath("train/sea/._1.jpg"))
    (True, False)
    """
    return path.suffix.lower() in MEDIA_TYPES and not any(part.startswith(".") for part in path.parts)


def find_images(folder: Path, pattern: str) -> list[Path]:
    """Return the image files of a folder that match a glob pattern, sorted."""
    return sorted(path for path in folder.glob(pattern) if is_image_file(path.relative_to(folder)))
