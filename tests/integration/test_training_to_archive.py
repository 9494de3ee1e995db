"""One real run, small: train a timm network, export it, and hold the archive to what was promised."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from driftserve.archive import MODEL_FILE, read_archive, read_contract, unpack_archive
from driftserve.decode import decode
from driftserve.errors import DataError, ModelError
from driftserve.features import feature_names
from driftserve.model import Model
from driftserve.prediction import calibrate
from driftserve.preprocess import preprocess
from driftserve.verification import verify_archive
from driftserve_demo.synthetic import write_dataset
from driftserve_training.archiving.export import export
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.fitting.training import TEST_PREDICTIONS_FILE, train
from driftserve_training.network import graph
from driftserve_training.network.trained import load_trained


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, {"train": 16, "val": 10, "test": 6}, seed=5)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    train(
        TrainingConfiguration(
            data=data, output=output, model="test_resnet", pretrained=False, image_size=48, epochs=2, batch_size=16
        )
    )
    return output


@pytest.fixture(scope="module")
def exported(data: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("exported")
    export(trained, data, output, "scenes", "3")
    return output


def test_a_run_leaves_record_weights_predictions_manifest_and_logs(trained: Path) -> None:
    record, classifier = load_trained(trained)
    assert 0 <= record.test_accuracy <= 1
    assert record.best_epoch in (1, 2)
    assert record.labels == ("buildings", "forest", "glacier", "mountain", "sea", "street")
    assert not classifier.training
    assert len((trained / "manifest.csv").read_text().splitlines()) == 1 + 6 * (16 + 10 + 6)
    assert list((trained / "tensorboard").glob("events*"))


def test_tensorboard_has_the_metrics_and_the_confusion_matrix(trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tensorboard"))
    events.Reload()
    assert {
        "train_loss",
        "val_accuracy",
        "test_accuracy",
        "test_macro_f1",
        "test_macro_precision",
        "test_macro_recall",
    } <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["test_confusion"]


def test_the_predictions_are_those_of_the_recorded_accuracy(trained: Path) -> None:
    record, _ = load_trained(trained)
    with (trained / TEST_PREDICTIONS_FILE).open() as file:
        rows = list(csv.DictReader(file))
    hits = [max(record.labels, key=lambda label: float(row[label])) == row["label"] for row in rows]
    assert np.mean(hits) == pytest.approx(record.test_accuracy)


def test_the_model_folder_holds_the_one_archive_and_the_tarball_the_same(exported: Path) -> None:
    (archive,) = (exported / "model").iterdir()
    assert archive.name == "scenes.mar"
    with tarfile.open(exported / "model.tar.gz") as tarball:
        assert tarball.getnames() == ["scenes.mar", "MAR-INF/MANIFEST.json", "driftserve_handler.py"]


def test_the_contract_says_what_was_trained(exported: Path, trained: Path) -> None:
    record, _ = load_trained(trained)
    contract = read_contract(exported / "model" / "scenes.mar")
    assert (contract.name, contract.version, contract.labels) == ("scenes", "3", record.labels)
    assert contract.feature_names == feature_names(record.labels, contract.embedding_size)
    assert {len(values) for values in contract.reference.values()} == {60}  # val/
    assert contract.provenance["manifest_sha256"] == record.manifest_sha256
    assert contract.evaluation["test_accuracy"] == record.test_accuracy


def test_the_archived_graph_gives_the_eager_networks_answers_on_every_test_image(
    exported: Path, trained: Path, data: Path, tmp_path: Path
) -> None:
    contract = unpack_archive(exported / "model" / "scenes.mar", tmp_path)
    model = Model(tmp_path / MODEL_FILE, 48, 48)
    with (trained / TEST_PREDICTIONS_FILE).open() as file:
        for row in csv.DictReader(file):
            image = decode((data / row["path"]).read_bytes())
            served = calibrate(model(preprocess([image], contract.image_spec)).logits, contract.temperature)[0]
            assert np.abs(served - [float(row[label]) for label in contract.labels]).max() <= 1e-4


def test_principal_components_of_training_images_are_centred_and_uncorrelated(
    exported: Path, data: Path, tmp_path: Path
) -> None:
    contract = unpack_archive(exported / "model" / "scenes.mar", tmp_path)
    model = Model(tmp_path / MODEL_FILE, 48, 48)
    images = [decode(path.read_bytes()) for path in sorted((data / "train").glob("*/*.jpg"))]
    embedding = model(preprocess(images, contract.image_spec)).embedding.astype(float)
    spread = embedding.std(axis=0)
    assert np.abs(embedding.mean(axis=0) / spread).max() < 1e-2
    assert np.abs(np.corrcoef(embedding.T) - np.eye(embedding.shape[1])).max() < 1e-2
    assert (np.diff(spread) <= 1e-6).all()


def test_golden_images_go_round_the_predicted_classes_and_are_small(exported: Path, data: Path, tmp_path: Path) -> None:
    contract = unpack_archive(exported / "model" / "scenes.mar", tmp_path)
    val = [decode(path.read_bytes()) for path in sorted((data / "val").glob("*/*.jpg"))]
    for golden in contract.golden:
        with Image.open(tmp_path / golden.file) as image:
            assert image.format == "PNG"
            assert any(np.array_equal(np.asarray(image), pixels) for pixels in val)  # no larger than 512 pixels
    logits = Model(tmp_path / MODEL_FILE, 48, 48)(preprocess(val, contract.image_spec)).logits
    margins = np.diff(np.sort(calibrate(logits, contract.temperature))[:, -2:]).ravel()
    clear = {contract.labels[best] for best in logits[margins > 0.1].argmax(axis=1)}
    assert len(contract.golden) == min(8, (margins > 0.1).sum())
    assert {golden.label for golden in contract.golden} == clear


def test_large_validation_images_are_kept_small_and_answered_as_they_are_kept(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    for path in (copy / "val").glob("*/*.jpg"):
        with Image.open(path) as image:
            image.resize((900, 600)).save(path)
    export(trained, copy, tmp_path / "out", "scenes", "1")
    verified = verify_archive(tmp_path / "out" / "model" / "scenes.mar", tmp_path / "model", allowed=())
    for golden in verified.contract.golden:
        with Image.open(verified.directory / golden.file) as image:
            assert image.size == (512, 341)


def test_a_network_that_is_sure_of_nothing_is_refused(data: Path, trained: Path, tmp_path: Path) -> None:
    unsure = tmp_path / "trained"
    shutil.copytree(trained, unsure)
    record = json.loads((unsure / "trained.json").read_text())
    (unsure / "trained.json").write_text(json.dumps(record | {"temperature": 1000.0}))
    with pytest.raises(ModelError, match=r"expected a validation image .* more than 0\.1 apart, got none in 60"):
        export(unsure, data, tmp_path / "out", "scenes", "1")
    assert not (tmp_path / "out").exists()


def test_an_exported_archive_is_verified_by_its_digest(exported: Path, tmp_path: Path) -> None:
    archive = exported / "model" / "scenes.mar"
    digest = read_archive(archive)[1]
    assert verify_archive(archive, tmp_path / "model", allowed=(digest,)).digest == digest


def test_a_network_that_is_not_scripted_faithfully_is_refused(
    data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward: Callable[..., tuple[torch.Tensor, torch.Tensor]] = graph.ExportGraph.forward

    def unfaithful(self: object, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, embedding = forward(self, pixels)
        return logits * 1.05, embedding

    monkeypatch.setattr(graph.ExportGraph, "forward", unfaithful)
    with pytest.raises(ModelError, match=r"expected the scripted network within 0\.0001 of the eager one"):
        export(trained, data, tmp_path, "scenes", "1")
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_a_training_run_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a finished training run"):
        export(tmp_path, data, tmp_path / "out", "scenes", "1")


def test_the_command_refuses_bad_data_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "driftserve_training",
            "train",
            "--data",
            str(tmp_path),
            "--output",
            str(tmp_path / "o"),
        ],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("driftserve_training: ")
    assert "Traceback" not in done.stderr


def test_best_epoch_by_validation_is_the_one_that_is_kept(trained: Path) -> None:
    record, classifier = load_trained(trained)
    (kept,) = (trained / "checkpoints").glob("*.ckpt")
    state = torch.load(kept, map_location="cpu", weights_only=True)
    assert state["epoch"] + 1 == record.best_epoch
    stored = classifier.state_dict()
    assert all(torch.equal(value, state["state_dict"][f"classifier.{name}"]) for name, value in stored.items())


def test_real_images_train_too(intel: Path, tmp_path: Path) -> None:
    """A sixtieth of the real images, one epoch from the real weights where they are: better than chance by far."""
    for split, number in {"train": 40, "val": 10, "test": 20}.items():
        for label in sorted(path for path in (intel / split).iterdir() if path.is_dir()):
            (tmp_path / "data" / split / label.name).mkdir(parents=True)
            for image in sorted(label.iterdir())[:number]:
                (tmp_path / "data" / split / label.name / image.name).symlink_to(image)
    weights = intel.parent / "weights" / "mobilenetv2_035.keras_in1k.safetensors"
    record = train(
        TrainingConfiguration(
            data=tmp_path / "data", output=tmp_path / "out", weights=weights, image_size=96, epochs=3, head_epochs=2
        )
    )
    assert record.test_accuracy > 0.5
    assert json.loads((tmp_path / "out" / "trained.json").read_text())["network"]["model"] == "mobilenetv2_035"


def test_the_archive_names_no_path_of_the_machine_that_made_it(exported: Path) -> None:
    import zipfile

    with zipfile.ZipFile(exported / "model" / "scenes.mar") as mar:
        texts = [mar.read(name) for name in mar.namelist()]
        with zipfile.ZipFile(mar.open(MODEL_FILE)) as graph_file:
            texts += [graph_file.read(name) for name in graph_file.namelist()]
    for path in (sys.prefix, str(Path(__file__).parents[2]), "site-packages"):
        assert not any(path.encode() in text for text in texts)


@pytest.mark.parametrize("model", ["deit_tiny_distilled_patch16_224", "convnext_atto"])
def test_other_kinds_of_networks_are_exported_too(data: Path, tmp_path: Path, model: str) -> None:
    train(TrainingConfiguration(data=data, output=tmp_path, model=model, pretrained=False, image_size=32, epochs=1))
    _, parity = export(tmp_path, data, tmp_path / "out", "scenes", "1")
    assert parity.argmax_agreement == 1.0


def test_a_stream_that_leaks_into_validation_is_refused(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    shutil.copytree(copy / "val", copy / "stream")
    with pytest.raises(DataError, match=r"expected no image in two splits, got val/.* = stream/"):
        train(TrainingConfiguration(data=copy, output=tmp_path / "o", model="test_resnet", pretrained=False))
