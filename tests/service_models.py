"""What boto3 knows of AWS's services, read once: to parse it for every client takes longer than most tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader

_read: dict[str, Any] = {}


@contextmanager
def service_models_read_once() -> Iterator[None]:
    """A time in which all clients of this process share the files' contents.

    None changes them, but by merging in again what is there.
    """
    load = JSONFileLoader.load_file

    def load_once(loader: JSONFileLoader, file_path: str) -> Any:
        if file_path not in _read:
            _read[file_path] = load(loader, file_path)
        return _read[file_path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", load_once)
        yield
