"""Keep torch's thread count, which is one setting for the whole process."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def preserve_thread_count() -> Iterator[None]:
    """Context manager that restores torch's thread count at the end: loading a served model sets it to one."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
