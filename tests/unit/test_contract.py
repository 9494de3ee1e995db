import json

import pytest

from driftserve.contract import Contract, ImageSpec, contract_from_json, contract_to_json
from driftserve.errors import ArchiveError


def test_a_contract_survives_json_unchanged(contract: Contract) -> None:
    assert contract_from_json(contract_to_json(contract)) == contract


def test_another_schema_version_is_refused_by_both_names(contract: Contract) -> None:
    document = json.loads(contract_to_json(contract)) | {"schema_version": 99}
    with pytest.raises(ArchiveError, match="expected schema_version 1, got 99"):
        contract_from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"temperature": 0}, "temperature"),
        ({"labels": ["one"]}, "labels"),
        ({"labels": ["same", "same"]}, "distinct labels"),
        ({"name": "../evil"}, "name"),
        ({"surprise": 1}, "surprise"),
        ({"reference": {"margin": [1.0, 2.0], "entropy": [1.0]}}, "one length"),
        ({"files": {"model.pt": "abc"}}, "files.model.pt"),
    ],
)
def test_a_broken_field_is_named(contract: Contract, change: dict[str, object], place: str) -> None:
    document = json.loads(contract_to_json(contract)) | change
    with pytest.raises(ArchiveError, match=place):
        contract_from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"schema_version": "1"}', '{"temperature": NaN}'])
def test_what_is_no_contract_is_an_archive_error(text: str) -> None:
    with pytest.raises(ArchiveError):
        contract_from_json(text)


def test_a_crop_larger_than_the_resized_image_is_refused() -> None:
    with pytest.raises(ValueError, match="resize_shorter_side >= 64"):
        ImageSpec(height=64, width=32, resize_shorter_side=48, interpolation="bilinear")
