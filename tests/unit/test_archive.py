import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from driftserve.archive import (
    CONTRACT_FILE,
    HANDLER_FILE,
    MODEL_FILE,
    archive_digest,
    directory_digest,
    find_archive,
    read_contract,
    write_archive,
    write_model_tarball,
)
from driftserve.contract import Contract
from driftserve.errors import ArchiveError


def test_the_archive_holds_graph_contract_and_a_one_line_handler(archive: Path, graph_file: Path) -> None:
    with zipfile.ZipFile(archive) as mar:
        assert mar.read(MODEL_FILE) == graph_file.read_bytes()
        assert mar.read(HANDLER_FILE) == b"from driftserve.adapters.torchserve import handle\n"
        manifest = json.loads(mar.read("MAR-INF/MANIFEST.json"))
    assert manifest["model"] | {"modelName": "tiny", "modelVersion": "7", "handler": HANDLER_FILE} == manifest["model"]


def test_the_contract_is_read_back_with_the_digests_filled_in(archive: Path, contract: Contract) -> None:
    read = read_contract(archive)
    assert list(read.files) == [MODEL_FILE]
    assert read.model_copy(update={"files": {}}) == contract


def test_the_digest_is_of_the_content_not_of_the_time(
    archive: Path, contract: Contract, graph_file: Path, tmp_path: Path
) -> None:
    again = write_archive(tmp_path / "again", contract, graph_file)
    assert archive_digest(again) == archive_digest(archive)
    other = write_archive(tmp_path / "other", contract.model_copy(update={"version": "8"}), graph_file)
    assert archive_digest(other) != archive_digest(archive)


def test_an_unpacked_archive_has_the_digest_of_its_file(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as mar:
        mar.extractall(tmp_path)
    (tmp_path / "__pycache__").mkdir()  # Python's, when a server has imported the handler
    assert directory_digest(tmp_path, read_contract(archive)) == archive_digest(archive)


def test_a_changed_graph_is_refused_by_its_digest(archive: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged.mar"
    with zipfile.ZipFile(archive) as mar, zipfile.ZipFile(forged, "w") as copy:
        for name in mar.namelist():
            copy.writestr(name, mar.read(name) + (b"!" if name == MODEL_FILE else b""))
    with pytest.raises(ArchiveError, match=r"model\.pt: expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}"):
        read_contract(forged)


def test_a_zip_without_contract_is_no_archive_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "other.mar"
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr("handler.py", "")
    with pytest.raises(ArchiveError, match=f"expected an archive that driftserve wrote.*{CONTRACT_FILE}"):
        read_contract(path)


def test_what_is_no_zip_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "text.mar"
    path.write_text("hello")
    with pytest.raises(ArchiveError, match="expected a MAR archive"):
        read_contract(path)


def test_a_directory_with_one_archive_is_as_good_as_its_file(archive: Path, tmp_path: Path) -> None:
    assert find_archive(archive.parent) == find_archive(archive) == archive
    with pytest.raises(ArchiveError, match=r"one \.mar file, got none"):
        find_archive(tmp_path)
    for name in ("a.mar", "b.mar"):
        (tmp_path / name).touch()
    with pytest.raises(ArchiveError, match=r"got a\.mar, b\.mar"):
        find_archive(tmp_path)


def test_the_tarball_unpacks_to_the_archive_alone(archive: Path, tmp_path: Path) -> None:
    write_model_tarball(archive, tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as tarball:
        assert tarball.getnames() == [archive.name]
        member = tarball.extractfile(archive.name)
        assert member is not None
        assert member.read() == archive.read_bytes()
