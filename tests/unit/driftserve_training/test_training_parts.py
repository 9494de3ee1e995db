import json
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from driftserve.archive.mar import MAX_ENTRY_BYTES
from driftserve.errors import DataError
from driftserve.inference.prediction import calibrate
from driftserve_training.__main__ import main
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.evaluation.calibration import fit_temperature
from driftserve_training.evaluation.scores import evaluate
from driftserve_training.network.classifier import create_classifier, pretrained_file, rebuild_classifier
from driftserve_training.network.exportable import check_graph_size
from driftserve_training.network.weights import downloaded_weights, find_weights, read_weights_record
from image_folders import add_companions

RECORD = {
    "model": "test_resnet",
    "model_kwargs": {"drop_rate": 0.1},
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "input_size": [3, 96, 96],
    "interpolation": "bilinear",
    "license": "CC0",
}


def _configuration(tmp_path: Path, **chosen: object) -> TrainingConfiguration:
    return TrainingConfiguration(data=tmp_path, output=tmp_path, **chosen)  # type: ignore[arg-type]


def _weights(tmp_path: Path) -> Path:
    """Write a timm weights file with a head of 1,000 classes, like one from a hub, and its record."""
    torch.manual_seed(3)
    path = tmp_path / "w.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    path.with_name("w.safetensors.json").write_text(json.dumps(RECORD))
    return path


def test_the_file_that_timm_downloaded_is_found_in_the_hubs_cache(tmp_path: Path) -> None:
    repository = tmp_path / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0a1b")
    snapshot = repository / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    assert downloaded_weights("timm/test_resnet.r160_in1k", tmp_path) is None
    for name in ("pytorch_model.bin", "model.safetensors"):  # timm prefers the second
        (snapshot / name).touch()
        assert downloaded_weights("timm/test_resnet.r160_in1k", tmp_path) == snapshot / name
    assert downloaded_weights(None, tmp_path) is None


def test_a_network_without_pretrained_weights_has_no_file_of_them(tmp_path: Path) -> None:
    weights = _weights(tmp_path)
    assert pretrained_file(_configuration(tmp_path, weights=weights), "test_resnet") == weights
    assert pretrained_file(_configuration(tmp_path, model="test_resnet", pretrained=False), "test_resnet") is None


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_scaling_finds_the_true_temperature(generator: np.random.Generator, temperature: float) -> None:
    logits = generator.normal(0, 3, (8000, 5)).astype(np.float32)
    targets = np.array([generator.choice(5, p=row) for row in calibrate(logits, temperature)])
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.1)


def test_a_network_without_errors_gets_a_bounded_temperature() -> None:
    logits = np.eye(4, dtype=np.float32)[np.arange(100) % 4] * 5
    temperature = fit_temperature(logits, np.arange(100) % 4)
    assert calibrate(logits, temperature).max() == pytest.approx(1 - 1 / 102, abs=1e-3)


def test_metrics_agree_with_their_definitions() -> None:
    probabilities = np.eye(3)[[0, 0, 1, 2, 2, 2]]
    targets = np.array([0, 1, 1, 2, 2, 0])
    evaluation = evaluate(probabilities, targets)
    assert evaluation.accuracy == pytest.approx(4 / 6)
    assert evaluation.macro_precision == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)
    assert evaluation.macro_recall == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert evaluation.macro_f1 == pytest.approx((1 / 2 + 2 / 3 + 4 / 5) / 3)


def test_the_record_beside_the_weights_determines_the_network(tmp_path: Path) -> None:
    classifier, record = create_classifier(_configuration(tmp_path, weights=_weights(tmp_path)), 4)
    assert (record.model, record.mean, record.std, record.weights_license) == (
        "test_resnet",
        (0.5,) * 3,
        (0.25,) * 3,
        "CC0",
    )
    assert (record.image_spec.height, record.image_spec.interpolation) == (96, "bilinear")
    assert classifier(torch.zeros(2, 3, 96, 96, dtype=torch.uint8)).shape == (2, 4)
    assert all((parameter == 0).all() for parameter in classifier.head_parameters())


def test_the_weights_are_loaded(tmp_path: Path) -> None:
    weights = _weights(tmp_path)
    loaded, _ = create_classifier(_configuration(tmp_path, weights=weights), 4)
    stored = load_file(weights)
    own = loaded.backbone.state_dict()
    compared = [name for name in stored if own[name].shape == stored[name].shape]
    assert len(compared) > 20
    assert all(torch.equal(own[name], stored[name]) for name in compared)


def test_the_network_normalises_its_input(tmp_path: Path) -> None:
    classifier, _ = create_classifier(_configuration(tmp_path, weights=_weights(tmp_path)), 4)
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.allclose(classifier.normalise(pixels), (pixels / 255 - 0.5) / 0.25, atol=1e-6)


def test_a_network_is_rebuilt_from_its_record(tmp_path: Path) -> None:
    classifier, record = create_classifier(_configuration(tmp_path, model="test_resnet", pretrained=False), 4)
    again = rebuild_classifier(record)
    again.load_state_dict(classifier.state_dict())
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.allclose(classifier.eval()(pixels), again.eval()(pixels), atol=1e-5)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({}, "expected the name of a timm model, got none"),
        ({"model": "resnet_1999"}, "expected a timm model, got 'resnet_1999'"),
        ({"weights": Path("/nowhere/w.safetensors")}, "expected a weights file, got none; correct the path"),
    ],
)
def test_a_network_that_cannot_be_built_is_an_error(tmp_path: Path, chosen: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        create_classifier(_configuration(tmp_path, **chosen), 4)


def test_weights_of_a_different_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected weights of resnet18, got weights of test_resnet"):
        create_classifier(_configuration(tmp_path, weights=_weights(tmp_path), model="resnet18"), 4)


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "bin"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"\x80\x02", b"PK\x03\x04", b"\xff" * 64, "half"])
def test_a_damaged_weights_file_is_an_error(tmp_path: Path, suffix: str, content: bytes | str) -> None:
    weights = _weights(tmp_path)
    half = weights.read_bytes()[: weights.stat().st_size // 2]
    damaged = tmp_path / f"damaged.{suffix}"
    damaged.write_bytes(half if isinstance(content, str) else content)
    with pytest.raises(DataError, match=r"^cannot load the weights of test_resnet: "):
        create_classifier(_configuration(tmp_path, weights=damaged, model="test_resnet"), 4)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    weights = _weights(tmp_path)
    values = load_file(weights)
    values["conv1.0.weight"][0] = torch.inf
    save_file(values, weights)
    with pytest.raises(DataError, match=r"^expected finite weights of test_resnet, .* in conv1\.0\.weight; give"):
        create_classifier(_configuration(tmp_path, weights=weights), 4)


def test_the_error_for_an_invalid_record_names_the_field(tmp_path: Path) -> None:
    weights = _weights(tmp_path)
    weights.with_name("w.safetensors.json").write_text(json.dumps(RECORD | {"mean": [0.5]}))
    with pytest.raises(DataError, match=r"w\.safetensors\.json: mean"):
        read_weights_record(weights)


def test_the_weights_of_the_model_are_chosen_from_a_folder(tmp_path: Path) -> None:
    weights = _weights(tmp_path)
    other = tmp_path / "other.safetensors"
    other.write_bytes(weights.read_bytes())
    other.with_name("other.safetensors.json").write_text(json.dumps(RECORD | {"model": "resnet18"}))
    assert find_weights(tmp_path, "test_resnet") == weights
    add_companions(tmp_path)
    assert find_weights(tmp_path, "test_resnet") == weights
    with pytest.raises(DataError, match=r"expected one weights file of vit, got other.safetensors of resnet18, w\."):
        find_weights(tmp_path, "vit")
    with pytest.raises(DataError, match=r"expected one weights file, got .*; give a model, or one file"):
        find_weights(tmp_path, None)
    other.rename(tmp_path / "caf\udce9.safetensors")
    with pytest.raises(DataError, match=r"expected names in UTF-8, got caf\udce9\.safetensors; rename"):
        find_weights(tmp_path, "test_resnet")


@pytest.mark.parametrize(
    "wrong", [["--name", "a b"], ["--name", "n" * 65], ["--version", ""]], ids=["a blank", "too long", "empty"]
)
def test_a_name_that_the_contract_does_not_allow_is_wrong_usage(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "--trained", "t", "--data", "d", "--output", "o", *wrong])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"argument {wrong[0]}: String should" in line


def test_an_abbreviated_flag_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--epoc", "3"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "driftserve_training: unrecognized arguments: --epoc 3; run `python -m driftserve_training --help` for usage\n"
    )


def test_a_network_that_no_archive_can_hold_is_refused_before_training(tmp_path: Path) -> None:
    graph = tmp_path / "model.pt"
    graph.touch()
    os.truncate(graph, MAX_ENTRY_BYTES)  # a file without content on the disk
    check_graph_size(graph, "vit")
    os.truncate(graph, MAX_ENTRY_BYTES + 1)
    with pytest.raises(DataError, match=r"expected a graph of vit of at most 2000000000 bytes, .* got 2000000001"):
        check_graph_size(graph, "vit")
