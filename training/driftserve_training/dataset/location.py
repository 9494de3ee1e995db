"""Context managers that present the folders of the splits as one folder."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from driftserve.errors import DataError
from driftserve_training.configuration import SPLITS, STREAM, Locations


@contextmanager
def located(locations: Locations, needed: Sequence[str] = SPLITS) -> Iterator[Path]:
    """Context manager for one folder that holds the needed splits, such as train/, val/ and test/.

    Raises:
        DataError: a needed split has no folder.
    """
    folders = (locations.train_data, locations.val_data, locations.test_data)
    elsewhere = {split: folder for split, folder in zip(SPLITS, folders, strict=True) if folder is not None}
    data = locations.data
    if data is not None and not elsewhere:
        yield data
        return
    for split, folder in elsewhere.items():
        if not folder.is_dir():
            raise DataError(f"{folder}: expected a folder of {split} images, <class>/<image>, got none; fix the path")
    if data is not None:
        splits = [split for split in (*SPLITS, STREAM) if (data / split).is_dir()]
        elsewhere = {split: data / split for split in splits} | elsewhere
    if missing := [split for split in needed if split not in elsewhere]:
        raise DataError(f"expected data, or a folder for each split, got none for {', '.join(missing)}; give --data")
    with gathered(elsewhere) as folder:
        yield folder


@contextmanager
def gathered(folders: Mapping[str, Path]) -> Iterator[Path]:
    """Context manager for a temporary folder that links to the folder of each split."""
    with tempfile.TemporaryDirectory() as scratch:
        for split, folder in folders.items():
            Path(scratch, split).symlink_to(folder.resolve(), target_is_directory=True)
        yield Path(scratch)
