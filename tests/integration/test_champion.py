"""Use an archive as the champion: the serving code predicts the test images with it."""

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from champion_archives import write_darkest
from driftserve.archive.contract import Contract
from driftserve.archive.mar import MAX_ENTRIES
from driftserve.archive.writing import write_model_tarball
from driftserve.errors import ArchiveError, DataError
from driftserve_training.dataset.manifest import Manifest, scan
from driftserve_training.evaluation.champion import read_champion
from driftserve_training.evaluation.comparison import compare
from driftserve_training.evaluation.predictions import predictions_file, write_predictions
from image_folders import add_companions, write_coloured
from processes import small_files
from sample_images import LABELS


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("data")
    write_coloured(folder / "test", 12, seed=2)
    return scan(folder, ("test",))


def test_a_champion_may_be_a_file_folder_or_tarball(archive: Path, manifest: Manifest, tmp_path: Path) -> None:
    shutil.copy(archive, tmp_path)
    write_model_tarball(archive, tmp_path / "model.tar.gz")
    places = (tmp_path / archive.name, tmp_path, tmp_path / "model.tar.gz")
    champions = [read_champion(place, manifest, "test") for place in places]
    for champion in champions:
        assert champion.name == "tiny/7"
        assert champion.predictions.labels == LABELS  # unsorted: not the order of the manifest
        assert champion.predictions.paths == tuple(entry.path for entry in manifest.entries)
        assert champion.predictions.is_right.all()  # each image is brightest in the channel of its class
        assert np.array_equal(champion.predictions.probabilities, champions[0].predictions.probabilities)


def test_files_whose_names_begin_with_a_dot_are_no_champion(archive: Path, manifest: Manifest, tmp_path: Path) -> None:
    """macOS's tar packs `._tiny.mar` beside `tiny.mar`."""
    (tmp_path / "model").mkdir()
    shutil.copy(archive, tmp_path / "model")
    add_companions(tmp_path / "model")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tarball:
        tarball.add(tmp_path / "model", ".")
    for place in (tmp_path / "model", tmp_path / "model.tar.gz"):
        assert read_champion(place, manifest, "test").name == "tiny/7"


def test_the_better_of_two_models_wins_the_comparison(
    archive: Path, manifest: Manifest, tmp_path: Path, contract: Contract, golden: Mapping[str, bytes]
) -> None:
    good = read_champion(archive, manifest, "test").predictions
    bad = read_champion(write_darkest(tmp_path, contract, golden), manifest, "test").predictions
    comparison = compare(good, bad, "darkest", seed=0)
    assert (comparison.champion_accuracy, comparison.challenger_alone_right) == (0.0, 36)
    assert (comparison.difference.value, comparison.p_value) == (1.0, pytest.approx(2 * 0.5**36))
    assert compare(bad, good, "tiny", seed=0).champion_alone_right == 36


def test_the_champion_uses_its_own_image_size(
    manifest: Manifest, tmp_path: Path, contract: Contract, golden: Mapping[str, bytes]
) -> None:
    larger = contract.image_spec.model_copy(update={"height": 64, "width": 64, "resize_shorter_side": 64})
    archive = write_darkest(tmp_path, contract.model_copy(update={"image_spec": larger}), golden)
    at_64 = read_champion(archive, manifest, "test").predictions
    at_32 = read_champion(write_darkest(tmp_path, contract, golden), manifest, "test").predictions
    assert np.allclose(at_64.probabilities, at_32.probabilities, atol=0.05)
    assert not np.array_equal(at_64.probabilities, at_32.probabilities)


def test_a_champion_with_other_classes_is_refused(archive: Path, manifest: Manifest, tmp_path: Path) -> None:
    champion = read_champion(archive, manifest, "test")
    rows = np.full((len(manifest.entries), 2), 0.5)
    write_predictions(tmp_path / predictions_file("test"), manifest.entries, ("red", "grey"), rows)
    other = read_champion(tmp_path, manifest, "test")
    with pytest.raises(DataError, match=r"tiny/7: expected predictions of red, grey, got red, green, blue"):
        compare(other.predictions, champion.predictions, champion.name, seed=0)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"no archive", r"scenes\.mar: "), (None, r"expected a \.mar file, or a directory with one \.mar file, got none")],
)
def test_an_invalid_champion_is_refused(content: bytes | None, said: str, manifest: Manifest, tmp_path: Path) -> None:
    place = tmp_path / "scenes.mar"
    if content:
        place.write_bytes(content)
    with pytest.raises(ArchiveError, match=said):
        read_champion(place, manifest, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"predictions-test\.csv: cannot read the predictions"):
        read_champion(tmp_path / "empty", manifest, "test")


def test_a_tarball_with_more_files_than_an_endpoint_would_serve_is_refused(
    archive: Path, manifest: Manifest, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as packed:
        packed.add(archive, archive.name)
        for number in range(MAX_ENTRIES):
            packed.addfile(tarfile.TarInfo(f"{number}.txt"))
    with pytest.raises(ArchiveError, match=rf"model\.tar\.gz: expected at most {MAX_ENTRIES} files, got more"):
        read_champion(tmp_path / "model.tar.gz", manifest, "test")


def test_a_damaged_tarball_is_refused_and_a_full_disk_is_not_reported_as_damage(
    archive: Path, manifest: Manifest, tmp_path: Path
) -> None:
    packed = tmp_path / "model.tar.gz"
    write_model_tarball(archive, packed)
    whole = packed.read_bytes()
    with small_files(100), pytest.raises(OSError, match=r"^\[Errno 27\] File too large$"):
        read_champion(packed, manifest, "test")
    for place in (len(whole) // 2, len(whole) - 6):  # inside the archive; in the gzip checksum
        packed.write_bytes(bytes((*whole[:place], whole[place] ^ 0x10, *whole[place + 1 :])))
        with pytest.raises(ArchiveError, match=r"model\.tar\.gz: cannot be read as a model\.tar\.gz: "):
            read_champion(packed, manifest, "test")
