from pathlib import Path

import pytest

from driftserve.errors import DataError
from driftserve.host.claim import claim


def test_a_new_or_empty_directory_is_marked_and_accepted_again(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "a" / "b"):
        claim(directory, "")
        (directory / "file").touch()
        claim(directory, "")


def test_a_directory_with_files_is_refused_and_not_marked(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    (tmp_path / "two").touch()
    with pytest.raises(DataError, match="got one with one; give another --work"):
        claim(tmp_path, "give another --work", earlier=("one", "three"))
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_a_directory_of_an_earlier_version_is_accepted_by_its_files(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).touch()
    claim(tmp_path, "", earlier=("one", "two"))
    assert (tmp_path / ".driftserve").read_text().startswith("driftserve made this directory")
