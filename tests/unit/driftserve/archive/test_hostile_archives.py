"""Invalid and malicious archives are refused with a one-line error before their graph is loaded."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftserve.archive.contract import Contract
from driftserve.archive.mar import MAX_ENTRIES
from driftserve.archive.reading import read_archive, read_contract, unpack_archive
from driftserve.archive.writing import write_archive
from driftserve.errors import ArchiveError
from driftserve.inference.verification import verify_archive
from hostile_archives import HOSTILE, deflated, entries_of, to_zip

LOADED = "is not a TorchScript graph"


@pytest.fixture(scope="module")
def trap(contract: Contract, golden: Mapping[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that is valid except for its graph file, so that a test fails if the graph is loaded."""
    folder = tmp_path_factory.mktemp("trap")
    (folder / "model.pt").write_bytes(bytes(range(256)) * 8)
    return write_archive(folder, contract, folder / "model.pt", golden)


def test_the_trap_archive_fails_only_when_its_graph_is_loaded(trap: Path, tmp_path: Path) -> None:
    rebuilt = tmp_path / "tiny.mar"
    rebuilt.write_bytes(to_zip(entries_of(trap)))  # the functions that build hostile archives can build valid ones, too
    assert read_archive(rebuilt)[1] == read_archive(trap)[1]
    with pytest.raises(ArchiveError, match=LOADED):
        verify_archive(rebuilt, tmp_path / "unpacked", allowed=())


@pytest.mark.parametrize("fault", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_line_before_its_graph_is_loaded(
    trap: Path, tmp_path: Path, fault: str
) -> None:
    make, refusal = HOSTILE[fault]
    (tmp_path / "outer").mkdir()
    archive = tmp_path / "outer" / "tiny.mar"
    archive.write_bytes(make(entries_of(trap)))
    for check in (read_contract, read_archive, lambda it: verify_archive(it, tmp_path / "outer" / "model", ())):
        with pytest.raises(ArchiveError, match=refusal) as refused:
            check(archive)
        assert LOADED not in str(refused.value)
        assert str(refused.value).startswith("tiny.mar: ")
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 1000
    assert {path.name for path in tmp_path.rglob("*") if "evil" in path.name or path.is_symlink()} == set()
    assert {path.name for path in (tmp_path / "outer").iterdir()} <= {"tiny.mar", "model"}


def test_a_structural_fault_leaves_nothing_on_the_disk(trap: Path, tmp_path: Path) -> None:
    archive = tmp_path / "tiny.mar"
    archive.write_bytes(to_zip([*entries_of(trap), deflated("../evil", b"")]))
    with pytest.raises(ArchiveError):
        unpack_archive(archive, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_a_directory_entry_for_the_manifest_is_accepted(archive: Path, tmp_path: Path) -> None:
    with_directory = tmp_path / "tiny.mar"
    directory = deflated("MAR-INF/", b"")
    with_directory.write_bytes(
        to_zip([type(directory)("MAR-INF/", b"", 0, 0, method=0, mode=0o040755), *entries_of(archive)])
    )
    assert read_archive(with_directory)[1] == read_archive(archive)[1]


def test_an_archive_is_not_unpacked_over_existing_files(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").symlink_to(tmp_path / "outside")
    with pytest.raises(ArchiveError, match="expected an empty directory"):
        unpack_archive(archive, tmp_path)
    assert not (tmp_path / "outside").exists()


def test_a_missing_archive_is_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"^gone\.mar: .*No such file"):
        read_contract(tmp_path / "gone.mar")


def test_written_archives_stay_far_below_the_limits(archive: Path) -> None:
    assert len(entries_of(archive)) * 4 < MAX_ENTRIES


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_archive_is_refused_or_has_the_same_content(
    archive: Path, tmp_path: Path, data: st.DataObject
) -> None:
    good = archive.read_bytes()
    damaged = bytearray(good)
    headers = st.integers(max(0, len(good) - 600), len(good) - 1)  # the central directory, where each byte matters most
    for place in data.draw(st.lists(headers | st.integers(0, len(good) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 3))
    path = tmp_path / "tiny.mar"
    path.write_bytes(bytes(damaged)[: len(damaged) - (cut if cut == 3 else 0)])
    try:
        digest = read_archive(path)[1]
    except ArchiveError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert digest == read_archive(archive)[1]
