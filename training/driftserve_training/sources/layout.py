"""Find the images in a folder, with their split and class.

Three layouts are known, either at the root of the folder or in its only subfolder:

    seg_train/seg_train/<class>/<image>    layout of Kaggle's archive; seg_pred/seg_pred/<image> has no classes
    seg_train/<class>/<image>              layout that `fetch` writes
    train/<class>/<image>                  with test/ and optionally val/ (or validation/), stream/, pred/

If only one split is needed, its classes may also be at the root: <class>/<image>.

A class may have the name of a split: a folder with images and no folders is a class.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from driftserve.errors import DataError
from driftserve.images.decode import MEDIA_TYPES
from driftserve.images.files import check_names, find_images
from driftserve_training.configuration import STREAM
from driftserve_training.dataset.listing import list_names

PREDICTION = "pred"  # split of images without a class, which annotators will label

# For each split: the names of its folder; `fetch` writes the first one.
_NAMES = {
    "train": ("seg_train", "train"),
    "val": ("seg_val", "val", "validation"),
    "test": ("seg_test", "test"),
    STREAM: (STREAM,),
    PREDICTION: ("seg_pred", "pred"),
}
_KNOWN = {name for names in _NAMES.values() for name in names}
NEEDED = ("train", "test")


@dataclass(frozen=True)
class SourceImage:
    """An image file with its split, and its class if the split has classes."""

    file: Path
    split: str
    label: str | None

    @property
    def fetched_path(self) -> Path:
        """Path of the image in the output of `fetch`, relative to it."""
        return Path(_NAMES[self.split][0], self.label or "", self.file.name)


@dataclass(frozen=True)
class Layout:
    """The images below `root`, sorted by split, class and name; `skipped` counts all other files, hidden ones too."""

    root: Path
    images: tuple[SourceImage, ...]
    skipped: int


def read_layout(folder: Path, origin: str, needed: Sequence[str] = NEEDED) -> Layout:
    """Find the images of a folder in one of the known layouts. Hidden folders are ignored.

    Args:
        folder: folder to read.
        origin: name of the folder in messages.
        needed: splits that must exist.

    Raises:
        DataError: a needed split is missing, a split has two folders, or a class has no image.
    """
    root = _root(folder)
    splits = {split: _split_folder(root, split, origin) for split in _NAMES}
    if len(needed) == 1 and _has_classes(root, splits):
        splits = {**dict.fromkeys(splits), needed[0]: root}
    if missing := [split for split in needed if splits[split] is None]:
        names = [path.name for path in _folders(root)]
        fetched, plain = (" and ".join(f"{_NAMES[split][place]}/" for split in needed) for place in (0, 1))
        raise DataError(
            f"{origin}: expected the folders {fetched} (or {plain}) with <class>/<image> in each, got no "
            f"{' and no '.join(missing)}; found {_list_folders(names)}. Give the folder that contains {plain}"
        )
    images = [image for split, path in splits.items() if path for image in _images(path, split, origin, root)]
    image_files = {image.file for image in images}
    skipped = sum(1 for path in folder.rglob("*") if path not in image_files and path.is_file())
    return Layout(root, tuple(images), skipped)


def _root(folder: Path) -> Path:
    """Return the folder, or its only subfolder if that subfolder is neither a split nor a class."""
    folders = _folders(folder)
    if len(folders) == 1 and folders[0].name.lower() not in _KNOWN and not _is_class(folders[0]):
        return folders[0]
    return folder


def _is_class(folder: Path) -> bool:
    return bool(_image_files(folder)) and not _folders(folder)


def _split_folder(root: Path, split: str, origin: str) -> Path | None:
    folders = [path for path in _folders(root) if path.name.lower() in _NAMES[split]]
    if len(folders) > 1:
        names = " and ".join(f"{path.name}/" for path in folders)
        raise DataError(f"{origin}: expected one folder of {split} images, got {names}; remove one")
    if not folders:
        return None
    inner = folders[0] / folders[0].name
    return inner if _is_nested(inner, split) else folders[0]


def _is_nested(inner: Path, split: str) -> bool:
    """Return whether a folder within one of its name is the split itself, as in Kaggle's archive, and not a class."""
    if split == PREDICTION:
        return inner.is_dir()
    return _folders(inner.parent) == [inner] and not _is_class(inner)


def _has_classes(root: Path, splits: Mapping[str, Path | None]) -> bool:
    """Return whether the folders at the root are classes: no split is there, or only classes with a split's name.

    There must be a class with another name. Without one, or with a folder of unlabelled images, the splits are meant.
    """
    if not any(splits.values()):
        return True
    if splits[PREDICTION]:
        return False
    folders = _folders(root)
    return all(map(_is_class, folders)) and any(path.name.lower() not in _KNOWN for path in folders)


def _images(folder: Path, split: str, origin: str, root: Path) -> Iterator[SourceImage]:
    if split == PREDICTION:
        yield from (SourceImage(path, split, None) for path in _image_files(folder))
        return
    classes = _folders(folder)
    if not classes:
        raise DataError(
            f"{origin}: expected <class>/<image> in {folder.relative_to(root)}/, got no class; "
            "put each image into a folder named after its class, or, if this folder is one class, give its parent"
        )
    for directory in classes:
        files = _image_files(directory)
        if not files:
            raise DataError(
                f"{origin}: expected images ({', '.join(MEDIA_TYPES)}) of every class, got none in "
                f"{directory.relative_to(root)}/; add some, or remove the class from every split"
            )
        yield from (SourceImage(path, split, directory.name) for path in files)


def _image_files(folder: Path) -> list[Path]:
    return [path for path in find_images(folder, "*") if path.is_file()]


def _folders(folder: Path) -> list[Path]:
    """Return the subfolders by name, without those that start with `.` or `__` (macOS's `__MACOSX`)."""
    found = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith((".", "__"))]
    check_names(folder, [path.relative_to(folder) for path in found])
    return found


def _list_folders(names: list[str]) -> str:
    return list_names([f"{name}/" for name in names]) or "no folders"
