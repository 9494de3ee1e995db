"""A small real run: train a timm network, export it and check the archive."""

import hashlib
import json
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from checkout import ROOT
from driftserve.archive.contract import MOST_REFERENCE_IMAGES
from driftserve.archive.reading import MODEL_FILE, read_archive, read_contract, unpack_archive
from driftserve.archive.writing import write_archive
from driftserve.cli import main as inspect
from driftserve.drift.features import feature_names
from driftserve.drift.reference import sample_images
from driftserve.errors import DataError, ModelError
from driftserve.images.decode import decode
from driftserve.images.preprocess import preprocess
from driftserve.inference.model import load_model
from driftserve.inference.prediction import calibrate
from driftserve.inference.scoring import Scored
from driftserve.inference.verification import verify_archive
from driftserve_demo.synthetic import write_dataset
from driftserve_training.__main__ import main
from driftserve_training.archiving.contracting import to_contract
from driftserve_training.archiving.export import export
from driftserve_training.archiving.served import ServedNetwork
from driftserve_training.card.card import gather
from driftserve_training.card.files import render
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.manifest import Manifest, scan
from driftserve_training.evaluation.assessment import assess
from driftserve_training.evaluation.options import AssessmentOptions
from driftserve_training.evaluation.quality import read_evaluation
from driftserve_training.explanation.document import Explanation, Explanations, write_explanations
from driftserve_training.fitting.training import train
from driftserve_training.network import graph
from driftserve_training.network.parity import Parity
from driftserve_training.network.trained import load_trained
from training_evidence import robustness, write_evaluation
from training_runs import save_run
from warm_interpreter import WarmInterpreter

PATIENCE_SECONDS = 200


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, {"train": 16, "val": 10, "test": 6}, seed=5)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller data set for tests that need another training run."""
    folder = tmp_path_factory.mktemp("few")
    write_dataset(folder, {"train": 4, "val": 3, "test": 1}, seed=6)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    train(
        TrainingConfiguration(
            data=data, output=output, model="test_resnet", pretrained=False, image_size=48, epochs=2, batch_size=16
        )
    )
    write_evaluation(output)
    return output


@pytest.fixture(scope="module")
def carded(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run for the export, which adds its card. Other tests export variants of the run."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("carded") / "run"))


@pytest.fixture(scope="module")
def exported(data: Path, carded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("exported")
    export(carded, data, output, "scenes", "3")
    return output


def test_a_run_writes_record_weights_manifest_and_logs(trained: Path) -> None:
    record, classifier = load_trained(trained)
    assert 0 <= record.val_accuracy <= 1
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
        "val_loss",
        "val_accuracy",
        "val_macro_f1",
        "val_macro_precision",
        "val_macro_recall",
    } <= set(events.Tags()["scalars"])
    assert "val_confusion" in events.Tags()["images"]


def test_the_model_folder_contains_only_the_archive_and_the_tarball_the_same(exported: Path) -> None:
    (archive,) = (exported / "model").iterdir()
    assert archive.name == "scenes.mar"
    with tarfile.open(exported / "model.tar.gz") as tarball:
        assert tarball.getnames() == ["scenes.mar", "MAR-INF/MANIFEST.json", "driftserve_handler.py"]


def test_the_contract_describes_the_trained_network(exported: Path, trained: Path) -> None:
    record, _ = load_trained(trained)
    contract = read_contract(exported / "model" / "scenes.mar")
    assert (contract.name, contract.version, contract.labels) == ("scenes", "3", record.labels)
    assert contract.feature_names == feature_names(record.labels, contract.embedding_size)
    assert {len(values) for values in contract.reference.values()} == {60}  # all images of val/
    assert contract.provenance["manifest_sha256"] == record.manifest_sha256
    evaluation = read_evaluation(trained)
    assert contract.evaluation == {
        "val_accuracy": record.val_accuracy,
        "test_accuracy": evaluation.accuracy.value,
        "test_macro_f1": evaluation.macro_f1.value,
        "test_ece": evaluation.calibrated.ece,
        "parity_max_abs_diff": contract.evaluation["parity_max_abs_diff"],
    }


def test_a_sample_of_a_large_validation_set_becomes_the_reference(
    exported: Path, carded: Path, tmp_path: Path, generator: np.random.Generator
) -> None:
    """130,000 validation images are too many for the contract. Their results are drawn here, not computed."""
    unpacked = tmp_path / "unpacked"
    contract = unpack_archive(exported / "model" / "scenes.mar", unpacked)
    card = gather(carded)
    rows = generator.random((130_000, len(contract.reference)))
    rows[:, 0] = np.arange(130_000)
    is_right = generator.random(130_000) < 0.7
    served = ServedNetwork(
        graph=unpacked / MODEL_FILE,
        model=load_model(unpacked, contract),
        score=lambda _: pytest.fail("export scores no image for the contract"),
        scored=Scored(np.zeros((0, 6), np.float32), np.zeros((0, 6)), rows, contract.embedding_size),
        is_right=is_right,
        sample=sample_images(130_000, len(contract.reference), card.trained.seed),
        parity=Parity(130_000, 0.0, 1.0),
    )
    large = to_contract("scenes", "4", card, render(card), served, contract.golden, contract.certificate)
    images = {image.file: (unpacked / image.file).read_bytes() for image in contract.golden}
    read = read_contract(write_archive(tmp_path / "written", large, served.graph, images))
    reference = np.array(list(read.reference.values())).T
    indices = reference[:, 0].astype(int)
    assert len(indices) == MOST_REFERENCE_IMAGES
    assert (np.diff(indices) > 0).all()
    assert np.array_equal(reference, rows[indices])
    assert read.reference_accuracy == is_right[indices].mean()
    assert read.provenance["reference_sampled_from"] == 130_000
    assert "reference_sampled_from" not in contract.provenance


def test_the_archive_has_the_digest_of_its_card_beside_it_and_in_the_run(exported: Path, carded: Path) -> None:
    provenance = read_contract(exported / "model" / "scenes.mar").provenance
    for folder in (exported, carded):
        for name, file in (("card_sha256", "card.json"), ("card_page_sha256", "card.html")):
            assert provenance[name] == hashlib.sha256((folder / file).read_bytes()).hexdigest()
    assert main(["report", "--trained", str(carded), "--archive", str(exported / "model")]) == 0


def test_the_card_of_an_export_has_its_certificate_and_is_reproducible(exported: Path, carded: Path) -> None:
    contract = read_contract(exported / "model" / "scenes.mar")
    card = gather(carded)
    assert card.certificate == contract.certificate
    assert render(card).document == (exported / "card.json").read_bytes()
    assert render(card).page == (exported / "card.html").read_bytes()


def test_inspect_shows_the_digest_of_the_card(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(["inspect", str(exported / "model")]) == 0
    digest = hashlib.sha256((exported / "card.json").read_bytes()).hexdigest()
    assert re.search(rf"provenance\.card_sha256 +{digest}\n", capsys.readouterr().out)


def test_a_changed_card_does_not_match_the_archive(
    exported: Path, carded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in ("card.json", "card.html"):
        shutil.copytree(carded, tmp_path / file)
        changed = tmp_path / file / file
        changed.write_bytes(changed.read_bytes().replace(b"test_resnet", b"best_resnet"))
        assert main(["report", "--trained", str(changed.parent), "--archive", str(exported / "model")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{file}: expected the card " in line
    shutil.rmtree(tmp_path / "card.json")
    assert main(["report", "--trained", str(tmp_path), "--archive", str(exported / "model")]) == 2
    assert "expected card.json, got none" in capsys.readouterr().err


def test_a_card_cannot_be_compared_with_an_archive_without_one(
    archive: Path, carded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--trained", str(carded), "--archive", str(archive)]) == 2
    assert "expected card_sha256 in the provenance, got none; export the archive again" in capsys.readouterr().err


def test_every_command_accepts_the_same_flags_for_separate_splits(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {"train": "to-train", "val": "to-choose", "test": "held-out"}
    for split, name in splits.items():
        shutil.copytree(few / split, tmp_path / name)
    places = [word for split, name in splits.items() for word in (f"--{split}-data", str(tmp_path / name))]
    run, output = str(tmp_path / "run"), str(tmp_path / "out")
    network = ["--model", "test_resnet", "--no-pretrained", "--image-size", "32", "--epochs", "1", "--batch-size", "4"]
    assert main(["train", "--output", run, *network, *places]) == 0
    given = ["--trained", run, *places]
    assert main(["evaluate", "--robustness-images", "0", *given]) == 0
    assert main(["explain", "--images", "1", "--steps", "4", "--no-randomisation", *given]) == 0
    assert main(["export", "--output", output, *given]) == 0
    contract = read_contract(tmp_path / "out" / "model" / "scenes.mar")
    capsys.readouterr()
    assert main(["export", "--output", output, "--name", "other", *given]) == 2
    assert "model/scenes.mar: expected no archive beside other.mar" in capsys.readouterr().err
    assert contract.provenance["manifest_sha256"] == scan(few).sha256
    assert contract.certificate is not None
    assert contract.certificate.source.startswith("18 images of val/ ")

    capsys.readouterr()
    for command, kept in (("evaluate", 4), ("explain", 4), ("export", 2)):
        more = ["--output", output] if command == "export" else []
        assert main([command, "--trained", run, *more, *places[:kept]]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(f"a folder for each split, got none for {'val, ' * (kept == 2)}test; give --data")


def test_an_evaluation_needs_only_the_folder_of_its_split(data: Path, trained: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained, tmp_path / "run")
    assert main(["evaluate", "--trained", str(run), "--robustness-images", "0", "--test-data", str(data / "test")]) == 0
    assert read_evaluation(run).images_sha256 == Manifest(data, scan(data).split("test")).sha256


def test_an_export_without_an_evaluation_is_refused(data: Path, trained: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(trained, tmp_path / "run"))
    (bare / "evaluation.json").unlink()
    with pytest.raises(DataError, match=r"evaluation\.json: cannot read the evaluation: .*; run `evaluate` first"):
        export(bare, data, tmp_path / "out", "scenes", "1")
    assert not (tmp_path / "out").exists()


def test_an_export_with_images_that_differ_from_the_training_is_refused(
    data: Path, trained: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "data"))
    (copy / "val" / "sea" / "0000.jpg").unlink()
    with pytest.raises(DataError, match=r"expected the images of the training run, got changes in val/sea/0000\.jpg;"):
        export(trained, copy, tmp_path / "out", "scenes", "1")
    assert not (tmp_path / "out").exists()


def test_an_export_with_an_evaluation_on_other_images_is_refused(data: Path, trained: Path, tmp_path: Path) -> None:
    run, copy = Path(shutil.copytree(trained, tmp_path / "run")), Path(shutil.copytree(data, tmp_path / "data"))
    (copy / "test" / "sea" / "0000.jpg").unlink()
    assess(run, copy, AssessmentOptions(robustness_images=0))
    with pytest.raises(DataError, match=r"evaluation\.json: expected the test images of the run, got other images"):
        export(run, data, tmp_path / "out", "scenes", "1")
    assess(run, data, AssessmentOptions(robustness_images=0))
    assert gather(run).evaluation.images == 36


@pytest.fixture(scope="module")
def exported_into_itself(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with large validation images and a robustness result, exported into its own folder."""
    folder = tmp_path_factory.mktemp("large")
    copy = Path(shutil.copytree(few, folder / "data"))
    for path in (copy / "val").glob("*/*.jpg"):
        with Image.open(path) as image:
            image.resize((900, 600)).save(path)
    run = folder / "run"
    run.mkdir()
    save_run(run, scan(copy), steps=20)
    write_evaluation(run, robustness=robustness(0.5))
    export(run, copy, run, "scenes", "1")
    return run


def test_the_contract_includes_the_accuracy_on_corrupted_images_if_measured(exported_into_itself: Path) -> None:
    archive = exported_into_itself / "model" / "scenes.mar"
    assert read_contract(archive).evaluation["mean_corruption_accuracy"] == 0.5
    assert main(["report", "--trained", str(exported_into_itself), "--archive", str(archive)]) == 0


def test_the_archived_graph_agrees_with_the_eager_network_on_every_test_image(
    exported: Path, trained: Path, data: Path, tmp_path: Path
) -> None:
    contract = unpack_archive(exported / "model" / "scenes.mar", tmp_path)
    model = load_model(tmp_path, contract)
    _, classifier = load_trained(trained)
    images = [decode(path.read_bytes()) for path in sorted((data / "test").glob("*/*.jpg"))]
    pixels = preprocess(images, contract.image_spec)
    with torch.inference_mode():
        eager = classifier(torch.from_numpy(pixels)).numpy()
    served = model(pixels).logits
    assert np.abs(calibrate(served, contract.temperature) - calibrate(eager, contract.temperature)).max() <= 1e-4


def test_embeddings_of_training_images_are_centred_and_uncorrelated(exported: Path, data: Path, tmp_path: Path) -> None:
    contract = unpack_archive(exported / "model" / "scenes.mar", tmp_path)
    model = load_model(tmp_path, contract)
    images = [decode(path.read_bytes()) for path in sorted((data / "train").glob("*/*.jpg"))]
    embedding = model(preprocess(images, contract.image_spec)).embedding.astype(float)
    spread = embedding.std(axis=0)
    assert np.abs(embedding.mean(axis=0) / spread).max() < 1e-2
    assert np.abs(np.corrcoef(embedding.T) - np.eye(embedding.shape[1])).max() < 1e-2
    assert (np.diff(spread) <= 1e-6).all()


def test_golden_images_cover_the_predicted_classes_and_are_small(exported: Path, data: Path, tmp_path: Path) -> None:
    contract = unpack_archive(exported / "model" / "scenes.mar", tmp_path)
    val = [decode(path.read_bytes()) for path in sorted((data / "val").glob("*/*.jpg"))]
    for golden in contract.golden:
        with Image.open(tmp_path / golden.file) as image:
            assert image.format == "PNG"
            assert any(np.array_equal(np.asarray(image), pixels) for pixels in val)  # at most 512 pixels
    logits = load_model(tmp_path, contract)(preprocess(val, contract.image_spec)).logits
    margins = np.diff(np.sort(calibrate(logits, contract.temperature))[:, -2:]).ravel()
    clear = {contract.labels[best] for best in logits[margins > 0.1].argmax(axis=1)}
    assert len(contract.golden) == min(8, (margins > 0.1).sum())
    assert {golden.label for golden in contract.golden} == clear


def test_large_golden_images_are_reduced_and_their_predictions_match(
    exported_into_itself: Path, tmp_path: Path
) -> None:
    verified = verify_archive(exported_into_itself / "model" / "scenes.mar", tmp_path / "model", allowed=())
    assert verified.contract.golden
    for golden in verified.contract.golden:
        with Image.open(verified.directory / golden.file) as image:
            assert image.size == (512, 341)


def test_a_network_without_confident_predictions_is_refused(data: Path, trained: Path, tmp_path: Path) -> None:
    unsure = tmp_path / "trained"
    shutil.copytree(trained, unsure)
    record = json.loads((unsure / "trained.json").read_text())
    (unsure / "trained.json").write_text(json.dumps(record | {"temperature": 1000.0}))
    write_evaluation(unsure)
    with pytest.raises(ModelError, match=r"expected a validation image .* by more than 0\.1, got none in 60"):
        export(unsure, data, tmp_path / "out", "scenes", "1")
    assert not (tmp_path / "out").exists()


def test_a_network_that_differs_from_the_explained_one_is_refused(data: Path, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "trained"
    shutil.copytree(trained, run)
    told = Explanation("val/sea/0000.jpg", "0.png", "sea", "sea", 0.9, (9.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.2, 0.5)
    picture = (data / "val/sea/0000.jpg").read_bytes()
    write_explanations(run, Explanations("occlusion", "val", 1e-7, (told,)), {"0.png": picture})
    with pytest.raises(ModelError, match=r"expected the explained network, .*; run `explain` again"):
        export(run, data, tmp_path / "out", "scenes", "1")
    assert not (tmp_path / "out").exists()


def test_an_exported_archive_passes_verification_with_its_digest(exported: Path, tmp_path: Path) -> None:
    archive = exported / "model" / "scenes.mar"
    digest = read_archive(archive)[1]
    assert verify_archive(archive, tmp_path / "model", allowed=(digest,)).digest == digest


def test_a_network_that_changes_when_scripted_is_refused(
    data: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward: Callable[..., tuple[torch.Tensor, torch.Tensor]] = graph.ExportGraph.forward

    def unfaithful(self: object, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, embedding = forward(self, pixels)
        return logits * 1.05, embedding

    monkeypatch.setattr(graph.ExportGraph, "forward", unfaithful)
    with pytest.raises(ModelError, match=r"the scripted network differs .* expected probabilities within 0\.0001"):
        export(trained, data, tmp_path, "scenes", "1")
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_a_training_run_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a finished training run"):
        export(tmp_path, data, tmp_path / "out", "scenes", "1")


def test_bad_data_is_a_one_line_error_of_the_command(tmp_path: Path, warm: WarmInterpreter) -> None:
    command = ("driftserve_training", "train", "--data", str(tmp_path), "--output", str(tmp_path / "o"))
    done = warm.run(*command, environment={}, timeout_seconds=PATIENCE_SECONDS)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("driftserve_training: ")
    assert "Traceback" not in done.stderr


def test_the_best_epoch_on_validation_is_kept(trained: Path) -> None:
    record, classifier = load_trained(trained)
    (kept,) = (trained / "checkpoints").glob("epoch=*.ckpt")
    state = torch.load(kept, map_location="cpu", weights_only=True)
    assert state["epoch"] + 1 == record.best_epoch
    stored = classifier.state_dict()
    assert all(torch.equal(value, state["state_dict"][f"classifier.{name}"]) for name, value in stored.items())


def test_training_on_real_images_works(intel: Path, tmp_path: Path) -> None:
    """Train on 1 % of the real images for a few epochs, from real weights if available: far better than chance."""
    for split, number in {"train": 24, "val": 10, "test": 2}.items():
        for label in sorted(path for path in (intel / split).iterdir() if path.is_dir()):
            (tmp_path / "data" / split / label.name).mkdir(parents=True)
            for image in sorted(label.iterdir())[:number]:
                (tmp_path / "data" / split / label.name / image.name).symlink_to(image)
    weights = intel.parent / "weights" / "mobilenetv2_035.keras_in1k.safetensors"
    record = train(
        TrainingConfiguration(
            data=tmp_path / "data", output=tmp_path / "out", weights=weights, image_size=64, epochs=3, head_epochs=2
        )
    )
    assert record is not None
    assert record.val_accuracy > 0.5
    written = json.loads((tmp_path / "out" / "trained.json").read_text())
    assert written["network"]["model"] == "mobilenetv2_035"
    assert written["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_the_archive_contains_no_path_of_this_machine(exported: Path) -> None:
    import zipfile

    with zipfile.ZipFile(exported / "model" / "scenes.mar") as mar:
        texts = [mar.read(name) for name in mar.namelist()]
        with zipfile.ZipFile(mar.open(MODEL_FILE)) as graph_file:
            texts += [graph_file.read(name) for name in graph_file.namelist()]
    for path in (sys.prefix, str(ROOT), "site-packages"):
        assert not any(path.encode() in text for text in texts)


@pytest.mark.parametrize(
    "model", ["test_convnext", pytest.param("deit_tiny_distilled_patch16_224", marks=pytest.mark.acceptance)]
)
def test_other_architectures_are_exported_too(few: Path, tmp_path: Path, model: str) -> None:
    train(TrainingConfiguration(data=few, output=tmp_path, model=model, pretrained=False, image_size=32, epochs=1))
    write_evaluation(tmp_path)
    _, parity = export(tmp_path, few, tmp_path / "out", "scenes", "1")
    assert parity.argmax_agreement == 1.0


def test_a_stream_that_shares_images_with_validation_is_refused(data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    shutil.copytree(copy / "val", copy / "stream")
    with pytest.raises(DataError, match=r"expected no image in two splits, got val/.* = stream/"):
        train(TrainingConfiguration(data=copy, output=tmp_path / "o", model="test_resnet", pretrained=False))
