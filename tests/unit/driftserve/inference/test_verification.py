import math
import stat
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from driftserve.archive.contract import Contract
from driftserve.archive.golden import GOLDEN_TOLERANCE, golden_mismatch
from driftserve.archive.reading import (
    CONTRACT_FILE,
    HANDLER_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    directory_digest,
    read_archive,
)
from driftserve.archive.writing import write_archive
from driftserve.errors import ArchiveError
from driftserve.inference.verification import verify_archive
from sample_images import LABELS, encode


class Scaled(torch.nn.Module):
    """A graph with the shapes of the tiny network but different channel weights."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = pixels.float().mean(dim=(2, 3)) / 64
        return means * self.scale, means - 2


def test_a_valid_archive_is_verified_and_unpacked_into_the_serving_directory(archive: Path, tmp_path: Path) -> None:
    verified = verify_archive(archive, tmp_path / "model", allowed=())
    assert verified.directory == tmp_path / "model"
    assert verified.digest == read_archive(archive)[1] == directory_digest(verified.directory, verified.contract)
    files = {
        path.relative_to(verified.directory).as_posix() for path in verified.directory.rglob("*") if path.is_file()
    }
    assert files == {CONTRACT_FILE, HANDLER_FILE, MANIFEST_FILE, MODEL_FILE, "golden-00.png", "golden-01.png"}
    assert not any((verified.directory / name).stat().st_mode & (stat.S_IXUSR | stat.S_IWOTH) for name in files)


def test_an_archive_on_the_allow_list_is_verified(archive: Path, tmp_path: Path) -> None:
    digest = read_archive(archive)[1]
    assert verify_archive(archive, tmp_path / "model", allowed=("0" * 64, digest)).digest == digest


def test_an_archive_not_on_the_allow_list_is_refused_before_its_graph_is_loaded(
    contract: Contract, golden: Mapping[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "model.pt").write_bytes(b"no graph")
    archive = write_archive(tmp_path, contract, tmp_path / "model.pt", golden)
    with pytest.raises(ArchiveError, match=f"expected a content digest of {'0' * 64}, got {read_archive(archive)[1]}"):
        verify_archive(archive, tmp_path / "model", allowed=("0" * 64,))


@pytest.mark.parametrize("scale", [1.02, -1.0, math.nan])
def test_a_different_graph_with_the_same_shapes_is_refused(
    contract: Contract, golden: Mapping[str, bytes], tmp_path: Path, scale: float
) -> None:
    torch.jit.script(Scaled(scale)).save(str(tmp_path / "other.pt"))
    archive = write_archive(tmp_path, contract, tmp_path / "other.pt", golden)
    top = contract.golden[0].label
    with pytest.raises(ArchiveError, match=rf"^tiny\.mar: golden-00\.png: expected {top} at 0\.\d+ within 0\.001, got"):
        verify_archive(archive, tmp_path / "model", allowed=())


def test_a_different_temperature_is_refused(
    contract: Contract, graph_file: Path, golden: Mapping[str, bytes], tmp_path: Path
) -> None:
    other = contract.model_copy(update={"temperature": 1.02})
    archive = write_archive(tmp_path, other, graph_file, golden)
    with pytest.raises(ArchiveError, match=r"golden-00\.png: expected"):
        verify_archive(archive, tmp_path / "model", allowed=())


def test_permuted_labels_are_refused(
    contract: Contract, graph_file: Path, golden: Mapping[str, bytes], tmp_path: Path
) -> None:
    other = contract.model_copy(update={"labels": (*LABELS[1:], LABELS[0])})
    with pytest.raises(ArchiveError, match=r"golden-00\.png: expected '\w+' to be the most probable label, got"):
        write_archive(tmp_path, other, graph_file, golden)


def test_a_replaced_golden_image_is_refused(
    contract: Contract, graph_file: Path, golden: Mapping[str, bytes], tmp_path: Path
) -> None:
    names = list(golden)
    swapped = {names[0]: golden[names[1]], names[1]: golden[names[0]]}
    archive = write_archive(tmp_path, contract, graph_file, swapped)
    with pytest.raises(ArchiveError, match=r"golden-00\.png: expected"):
        verify_archive(archive, tmp_path / "model", allowed=())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"no image", "expected a PNG, got other bytes"),
        (encode(np.zeros((40, 40, 3), np.uint8), "JPEG"), "expected a PNG, got other bytes"),
        (b"\x89PNG\r\n\x1a\n", "expected an image"),
    ],
)
def test_an_invalid_or_lossy_golden_image_is_a_one_line_error_before_the_graph_is_loaded(
    contract: Contract, golden: Mapping[str, bytes], tmp_path: Path, body: bytes, message: str
) -> None:
    (tmp_path / "model.pt").write_bytes(b"no graph")
    archive = write_archive(tmp_path, contract, tmp_path / "model.pt", dict.fromkeys(golden, body))
    with pytest.raises(ArchiveError, match=message) as refused:
        verify_archive(archive, tmp_path / "model", allowed=())
    assert str(refused.value).isprintable()


def test_a_graph_with_other_shapes_is_a_one_line_error(
    contract: Contract, golden: Mapping[str, bytes], tmp_path: Path
) -> None:
    class Broken(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return pixels.reshape(7, 7), pixels

    torch.jit.script(Broken()).save(str(tmp_path / "other.pt"))
    archive = write_archive(tmp_path, contract, tmp_path / "other.pt", golden)
    with pytest.raises(ArchiveError, match="the model failed on a batch") as refused:
        verify_archive(archive, tmp_path / "model", allowed=())
    assert str(refused.value).isprintable()


def test_a_prediction_within_the_tolerance_is_accepted(contract: Contract) -> None:
    golden = contract.golden[0]
    answer = dict(zip(LABELS, golden.probabilities, strict=True))
    near = answer | {"red": answer["red"] + 0.9 * GOLDEN_TOLERANCE}
    far = answer | {"red": answer["red"] + 1.1 * GOLDEN_TOLERANCE}
    assert golden_mismatch(golden, LABELS, answer) is None
    assert golden_mismatch(golden, LABELS, near) is None
    assert "expected red at" in (golden_mismatch(golden, LABELS, far) or "")


def test_a_prediction_with_permuted_missing_or_other_labels_is_refused(contract: Contract) -> None:
    golden = contract.golden[0]
    permuted = dict(zip((*LABELS[1:], LABELS[0]), golden.probabilities, strict=True))
    assert f"expected {golden.label} at" in (golden_mismatch(golden, LABELS, permuted) or "")
    assert "expected the labels red, green, blue, got red" in (golden_mismatch(golden, LABELS, {"red": 1.0}) or "")


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_is_refused(contract: Contract, number: float) -> None:
    golden = contract.golden[0]
    assert golden_mismatch(golden, LABELS, dict.fromkeys(LABELS, number)) is not None
