import json
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from driftserve.archive.contract import Contract
from driftserve.archive.reading import (
    CONTRACT_FILE,
    HANDLER_FILE,
    MODEL_FILE,
    directory_digest,
    find_archive,
    read_archive,
    read_contract,
    unpack_archive,
)
from driftserve.archive.writing import write_archive, write_model_tarball
from driftserve.errors import ArchiveError
from image_folders import add_companions


def test_the_archive_holds_graph_contract_golden_images_and_a_one_line_handler(
    archive: Path, graph_file: Path, golden: Mapping[str, bytes]
) -> None:
    with zipfile.ZipFile(archive) as mar:
        assert {name: mar.read(name) for name in golden} == golden
        assert mar.read(MODEL_FILE) == graph_file.read_bytes()
        assert mar.read(HANDLER_FILE) == b"from driftserve.adapters.model_server import handle\n"
        manifest = json.loads(mar.read("MAR-INF/MANIFEST.json"))
    assert manifest["model"] | {"modelName": "tiny", "modelVersion": "7", "handler": HANDLER_FILE} == manifest["model"]


def test_the_contract_is_read_back_with_the_digests_filled_in(archive: Path, contract: Contract) -> None:
    read = read_contract(archive)
    assert list(read.files) == [MODEL_FILE, "golden-00.png", "golden-01.png"]
    assert read.model_copy(update={"files": {}}) == contract


def test_the_digest_depends_on_the_content_not_on_the_time(
    archive: Path, contract: Contract, graph_file: Path, golden: Mapping[str, bytes], tmp_path: Path
) -> None:
    again = write_archive(tmp_path / "again", contract, graph_file, golden)
    assert read_archive(again)[1] == read_archive(archive)[1]
    other = write_archive(tmp_path / "other", contract.model_copy(update={"version": "8"}), graph_file, golden)
    assert read_archive(other)[1] != read_archive(archive)[1]


def test_an_unpacked_archive_has_the_digest_of_its_file(archive: Path, tmp_path: Path) -> None:
    contract = unpack_archive(archive, tmp_path)
    assert contract == read_contract(archive)
    (tmp_path / "__pycache__").mkdir()  # Python writes it when a server imports the handler
    assert directory_digest(tmp_path, contract) == read_archive(archive)[1]


def test_unpacking_gives_the_bytes_that_zipfile_reads(archive: Path, tmp_path: Path) -> None:
    unpack_archive(archive, tmp_path)
    with zipfile.ZipFile(archive) as mar:
        expected = {name: mar.read(name) for name in mar.namelist()}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in files} == expected


def test_a_changed_file_changes_the_digest_of_the_directory(archive: Path, tmp_path: Path) -> None:
    contract = unpack_archive(archive, tmp_path)
    for name in (CONTRACT_FILE, HANDLER_FILE, *contract.files):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content + b" ")
        assert directory_digest(tmp_path, contract) != read_archive(archive)[1]
        (tmp_path / name).write_bytes(content)
    assert directory_digest(tmp_path, contract) == read_archive(archive)[1]


@pytest.mark.parametrize(
    "content",
    [np.random.default_rng(0).bytes(3_000_000) + bytes(5 << 20), bytes((1 << 20) + 100)],
    ids=["blocks in and out", "a block and what zlib holds back when it has read all"],
)
def test_a_graph_of_many_zip_blocks_is_unpacked_unchanged(
    contract: Contract, golden: Mapping[str, bytes], tmp_path: Path, content: bytes
) -> None:
    graph = tmp_path / "model.pt"
    graph.write_bytes(content)
    unpack_archive(write_archive(tmp_path, contract, graph, golden), tmp_path / "unpacked")
    assert (tmp_path / "unpacked" / MODEL_FILE).read_bytes() == graph.read_bytes()


def test_a_directory_with_one_archive_is_read_like_the_file(archive: Path, tmp_path: Path) -> None:
    assert find_archive(archive.parent) == find_archive(archive) == archive
    with pytest.raises(ArchiveError, match=r"one \.mar file, got none"):
        find_archive(tmp_path)
    for name in ("a.mar", "b.mar"):
        (tmp_path / name).touch()
    with pytest.raises(ArchiveError, match=r"got a\.mar, b\.mar"):
        find_archive(tmp_path)


def test_files_whose_names_begin_with_a_dot_are_no_archive(archive: Path, tmp_path: Path) -> None:
    """macOS writes `._tiny.mar` beside `tiny.mar` on disks and in tarballs that do not keep its attributes."""
    copy = Path(shutil.copy(archive, tmp_path))
    unpack_archive(archive, tmp_path / "unpacked")
    add_companions(tmp_path)
    assert find_archive(tmp_path) == copy
    assert find_archive(tmp_path / "unpacked") == tmp_path / "unpacked"
    assert read_archive(tmp_path / "unpacked") == read_archive(archive)
    copy.rename(tmp_path / "caf\udce9.mar")
    with pytest.raises(ArchiveError, match=r"expected a name in UTF-8, got caf\udce9\.mar; rename it"):
        find_archive(tmp_path)
    (tmp_path / "caf\udce9.mar").unlink()
    with pytest.raises(ArchiveError, match=r"one \.mar file, got none"):
        find_archive(tmp_path)


def test_the_tarball_holds_the_archive_and_what_a_multi_model_server_needs(archive: Path, tmp_path: Path) -> None:
    write_model_tarball(archive, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as tarball:
        assert tarball.getnames() == [archive.name, "MAR-INF/MANIFEST.json", "driftserve_handler.py"]
        assert {(entry.mode, entry.uid) for entry in tarball} == {(0o644, 0)}
        member = tarball.extractfile(archive.name)
        assert member is not None
        assert member.read() == archive.read_bytes()
