import json

import pytest

from driftserve.archive.contract import MOST_LABELS, Contract, ImageSpec, contract_from_json, contract_to_json
from driftserve.archive.reading import MAX_CONTRACT_BYTES
from driftserve.drift.reference import most_images
from driftserve.errors import ArchiveError


def test_a_contract_is_read_back_unchanged_from_json(contract: Contract) -> None:
    assert contract_from_json(contract_to_json(contract)) == contract


def test_the_error_for_another_schema_version_names_both_versions(contract: Contract) -> None:
    document = json.loads(contract_to_json(contract)) | {"schema_version": 99}
    with pytest.raises(ArchiveError, match="expected schema_version 3, got 99"):
        contract_from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"temperature": 0}, "temperature"),
        ({"labels": ["one"]}, "labels"),
        ({"labels": ["same", "same"]}, "distinct labels"),
        ({"name": "../evil"}, "name"),
        ({"surprise": 1}, "surprise"),
        ({"reference": {"margin": [1.0, 2.0], "entropy": [1.0]}}, "equal length"),
        ({"files": {"model.pt": "abc"}}, "files.model.pt"),
        ({"files": {"model.pt": "0" * 64}}, "expected the files model.pt, golden-00.png, golden-01.png, got model.pt"),
        ({"golden": []}, "golden"),
    ],
)
def test_the_error_for_an_invalid_field_names_it(contract: Contract, change: dict[str, object], place: str) -> None:
    document = json.loads(contract_to_json(contract)) | change
    with pytest.raises(ArchiveError, match=place):
        contract_from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"file": "../golden-00.png"}, "golden.0.file"),
        ({"file": "golden-01.png"}, "distinct golden files"),
        ({"label": "yellow"}, "expected 'yellow' to be the most probable label"),
        ({"probabilities": [0.7, 0.3]}, "expected 3 probabilities, one per label, got 2"),
        ({"probabilities": [0.7, 0.2, 0.2]}, "sum to 1"),
        ({"probabilities": [1.2, -0.1, -0.1]}, r"in \[0, 1\]"),
        ({"probabilities": [0.4, 0.35, 0.25]}, "expected a margin of more than 0.1, got 0.05"),
        ({"probabilities": []}, "golden.0.probabilities"),
    ],
)
def test_an_invalid_golden_entry_is_refused(contract: Contract, change: dict[str, object], place: str) -> None:
    document = json.loads(contract_to_json(contract))
    document["golden"][0] |= change
    with pytest.raises(ArchiveError, match=place):
        contract_from_json(json.dumps(document))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"schema_version": "1"}', '{"temperature": NaN}', b'{"name": "\xff"}', "[" * 100_000],
    ids=["empty", "list", "null", "open", "version", "NaN", "no UTF-8", "deep"],
)
def test_an_invalid_contract_is_an_archive_error(text: str | bytes) -> None:
    with pytest.raises(ArchiveError):
        contract_from_json(text)


def test_a_crop_larger_than_the_resized_image_is_refused() -> None:
    with pytest.raises(ValueError, match="resize_shorter_side >= 64"):
        ImageSpec(height=64, width=32, resize_shorter_side=48, interpolation="bilinear")


@pytest.mark.parametrize("labels", [3, MOST_LABELS])
def test_the_largest_reference_fits_into_a_contract(contract: Contract, labels: int) -> None:
    """All its numbers have the most digits. The names of the labels are as long as a file's name may be."""
    names = [f"{number:0255}" for number in range(labels)]
    features = [*(f"probability.{name}" for name in names), *(f"embedding.{component}" for component in range(200))]
    column = (-2.2250738585072014e-308,) * most_images(len(features))
    probabilities = (0.12345678901234568,) * labels
    golden = [image.model_copy(update={"probabilities": probabilities}) for image in contract.golden[:1] * 8]
    large = {"labels": tuple(names), "golden": tuple(golden), "reference": dict.fromkeys(features, column)}
    assert len(contract_to_json(contract.model_copy(update=large))) <= MAX_CONTRACT_BYTES
    assert most_images(len(features)) >= 200
