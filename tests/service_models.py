"""Cache boto3's service models: parsing them for every client takes longer than most tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader

_read: dict[str, Any] = {}


@contextmanager
def service_models_read_once() -> Iterator[None]:
    """Read each service model file only once in this process.

    Sharing is safe: clients do not change the models, except that they merge the same extras again.
    """
    load = JSONFileLoader.load_file

    def load_once(loader: JSONFileLoader, file_path: str) -> Any:
        if file_path not in _read:
            _read[file_path] = load(loader, file_path)
        return _read[file_path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", load_once)
        yield
