import os
from pathlib import Path

from driftserve.host.lock import is_locked, lock, try_lock, unlock


def test_a_file_is_locked_for_one_open_file_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as one, path.open() as other:
        assert not is_locked(path)
        lock(one)
        assert is_locked(path)
        assert not try_lock(other)
        unlock(one)
        assert try_lock(other)
    assert not is_locked(path)  # closing releases the lock


def test_shared_locks_do_not_exclude_each_other(tmp_path: Path) -> None:
    one, other, alone = (os.open(tmp_path, os.O_RDONLY) for _ in range(3))  # a directory can be locked, too
    lock(one, is_shared=True)
    assert try_lock(other, is_shared=True)
    assert not try_lock(alone)
    for descriptor in (one, other, alone):
        os.close(descriptor)


def test_a_missing_file_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "nothing")
