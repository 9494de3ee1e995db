"""The threads of torch, which are its whole process's."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def preserve_thread_count() -> Iterator[None]:
    """A stretch of code after which torch has as many threads as before: a served model takes one for itself."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
