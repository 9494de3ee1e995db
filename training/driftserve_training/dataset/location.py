"""Where the splits lie: in one folder, or each somewhere else."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from driftserve.errors import DataError
from driftserve_training.configuration import SPLITS, STREAM, TrainingConfiguration


@contextmanager
def located(configuration: TrainingConfiguration) -> Iterator[Path]:
    """The folder with train/, val/, test/ that a configuration means.

    Raises:
        DataError: a split lies nowhere.
    """
    elsewhere = {
        split: folder
        for split, folder in zip(
            SPLITS, (configuration.train_data, configuration.val_data, configuration.test_data), strict=True
        )
        if folder is not None
    }
    data = configuration.data
    if data is not None and not elsewhere:
        yield data
        return
    if data is not None:
        splits = [split for split in (*SPLITS, STREAM) if (data / split).is_dir()]
        elsewhere = {split: data / split for split in splits} | elsewhere
    if missing := [split for split in SPLITS if split not in elsewhere]:
        raise DataError(f"expected data, or a folder for each split, got none for {', '.join(missing)}; name it")
    with gathered(elsewhere) as folder:
        yield folder


@contextmanager
def gathered(folders: Mapping[str, Path]) -> Iterator[Path]:
    """A folder in which each split is a link to its own, while the context lasts."""
    with tempfile.TemporaryDirectory() as scratch:
        for split, folder in folders.items():
            Path(scratch, split).symlink_to(folder.resolve(), target_is_directory=True)
        yield Path(scratch)
