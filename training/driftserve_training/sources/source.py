"""Fetch a data set from its source into the layout that `preprocess` reads."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from driftserve.errors import DataError
from driftserve.images.files import is_image_file
from driftserve_training.sources.bucket import SCHEME, download, download_prefix, read_address
from driftserve_training.sources.kaggle import download_dataset
from driftserve_training.sources.layout import NEEDED, SourceImage, read_layout
from driftserve_training.sources.staging import check_new_or_empty, place, staged
from driftserve_training.sources.zipped import unzip

KAGGLE = "kaggle:"


@dataclass(frozen=True)
class FetchResult:
    """The number of images by split, the classes, and the number of skipped files: not an image, or not requested."""

    source: str
    images: Mapping[str, int]
    classes: tuple[str, ...]
    skipped: int
    test_source: str | None = None
    """Source of the test images, if it differs from `source`."""


@dataclass(frozen=True)
class _Local:
    """A source as a local folder; `skipped` is the number of files that were not copied from the source."""

    folder: Path
    source: str
    skipped: int = 0


def fetch(source: str, output: Path, test_source: str | None = None) -> FetchResult:
    """Fetch a data set into `seg_train/<class>/`, `seg_test/<class>/` and, if present, seg_val, seg_pred and stream.

    Args:
        source: `kaggle:<owner>/<name>`, `s3://<bucket>/<prefix>`, `s3://<bucket>/<key>.zip`, a folder or a zip
            file, in one of the layouts of the module `layout`.
        output: a new or empty folder; it is written completely or not at all.
        test_source: a second source, for the test images; the test images of `source` are then ignored. In both sources
            the classes may then be at the root.

    Raises:
        DataError: the source cannot be read or has an unknown layout, or the output cannot be written.
    """
    check_new_or_empty(output)
    with staged(output) as staging:
        if test_source is None:
            parts = [_read(source, staging.scratch / "all")]
        else:
            training = _read(source, staging.scratch / "train", needed=("train",)).without("test")
            parts = [training, _read(test_source, staging.scratch / "test", needed=("test",)).only("test")]
        images = [image for part in parts for image in part.images]
        for image in images:
            place(image.file, staging.whole / image.fetched_path)
        staging.publish()
    return FetchResult(
        parts[0].source,
        dict(Counter(image.split for image in images)),
        tuple(sorted({image.label for image in images if image.label})),
        sum(part.skipped for part in parts),
        parts[1].source if test_source is not None else None,
    )


@dataclass(frozen=True)
class _Part:
    """The images of one source."""

    source: str
    images: tuple[SourceImage, ...]
    skipped: int

    def only(self, split: str) -> "_Part":
        """Return the images of one split; the others count as skipped."""
        return self._chosen([image for image in self.images if image.split == split])

    def without(self, split: str) -> "_Part":
        """Return the images of all splits but one; the others count as skipped."""
        return self._chosen([image for image in self.images if image.split != split])

    def _chosen(self, images: list[SourceImage]) -> "_Part":
        return _Part(self.source, tuple(images), self.skipped + len(self.images) - len(images))


def _read(source: str, scratch: Path, needed: Sequence[str] = NEEDED) -> _Part:
    scratch.mkdir()
    local = _fetch_to_local(source, scratch)
    layout = read_layout(local.folder, source, needed)
    return _Part(local.source, layout.images, local.skipped + layout.skipped)


def _fetch_to_local(source: str, scratch: Path) -> _Local:
    if source.startswith(KAGGLE):
        folder = download_dataset(source.removeprefix(KAGGLE))
        is_newest = "/versions/" not in source and folder.parent.name == "versions"
        return _Local(folder, f"{source}/versions/{folder.name}" if is_newest else source)
    if source.startswith(SCHEME) and source.endswith(".zip"):
        file = scratch / "downloaded.zip"
        download([(read_address(source), file)])
        return _unzip_to_local(file, source, scratch / "unpacked")
    if source.startswith(SCHEME):
        skipped = download_prefix(read_address(source), scratch, is_image_file)
        return _Local(scratch, source, skipped)
    path = Path(source)
    if path.is_dir():
        return _Local(path, source)
    if path.is_file():
        return _unzip_to_local(path, source, scratch)
    raise DataError(
        f"{source}: expected kaggle:<owner>/<name>, s3://<bucket>/<prefix>, or an existing folder or zip file, "
        "got none of these; correct the source"
    )


def _unzip_to_local(file: Path, source: str, folder: Path) -> _Local:
    folder.mkdir(exist_ok=True)
    return _Local(folder, source, unzip(file, folder, source))
