"""Evaluate a real network and check the written results."""

import csv
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from driftserve.certification.corruption.imagenet_c import corrupt, standardise
from driftserve.errors import DataError
from driftserve.images.decode import decode
from driftserve.images.preprocess import preprocess
from driftserve_demo.synthetic import write_dataset
from driftserve_training.__main__ import main
from driftserve_training.dataset.manifest import scan
from driftserve_training.evaluation.assessment import assess
from driftserve_training.evaluation.corrupted import CELLS, VIEWS, CorruptedImages, choose, read_views
from driftserve_training.evaluation.document import Evaluation
from driftserve_training.evaluation.options import AssessmentOptions
from driftserve_training.evaluation.predictions import read_predictions
from driftserve_training.evaluation.quality import read_evaluation
from driftserve_training.network.trained import load_trained
from training_runs import save_run

ROBUSTNESS_IMAGES = 4


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: the networks are so small that a second one would only slow them down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, {"val": 5, "test": 6}, seed=5)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose network, after a few steps, predicts some of the images correctly."""
    manifest = scan(data, ("val", "test"))
    return save_run(tmp_path_factory.mktemp("trained"), manifest, taught="val", steps=12, temperature=1.7)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def evaluation(data: Path, trained: Path, cache: Path) -> Evaluation:
    return assess(trained, data, AssessmentOptions(robustness_images=ROBUSTNESS_IMAGES, cache=cache))


def _lines(split: Path) -> bytes:
    """Return path and digest of every image of a split, the input for the digest of a manifest."""
    return b"".join(
        f"{path.relative_to(split.parent)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        for path in sorted(split.glob("*/*.jpg"))
    )


def test_the_scores_agree_with_the_predictions(evaluation: Evaluation, data: Path, trained: Path) -> None:
    record, _ = load_trained(trained)
    predictions = read_predictions(trained / "predictions-test.csv")
    said = [predictions.labels[place] for place in predictions.probabilities.argmax(axis=1)]
    pairs = list(zip(predictions.targets, said, strict=True))
    assert evaluation.images == len(pairs) == 36
    assert evaluation.accuracy.value == pytest.approx(np.mean([right == guess for right, guess in pairs]))
    assert evaluation.confusion == tuple(
        tuple(pairs.count((right, guess)) for guess in record.labels) for right in record.labels
    )
    for of_class in evaluation.classes:
        guessed = sum(guess == of_class.label for guess in said)
        hits = pairs.count((of_class.label, of_class.label))
        assert of_class.recall.value == pytest.approx(hits / 6)
        assert of_class.precision.value == pytest.approx(hits / guessed if guessed else 0.0)
        assert of_class.images == 6
    assert evaluation.macro_recall.value == pytest.approx(np.mean([c.recall.value for c in evaluation.classes]))
    assert evaluation.accuracy.low <= evaluation.accuracy.value <= evaluation.accuracy.high
    assert sum(inside.images for inside in evaluation.reliability) == 36
    assert sum(part.images for part in evaluation.slices if part.attribute == "sharpness") == 36
    assert evaluation.temperature == record.temperature
    assert evaluation.images_sha256 == hashlib.sha256(_lines(data / "test")).hexdigest()


def test_the_file_has_sagemakers_metrics_and_can_be_read_back(evaluation: Evaluation, trained: Path) -> None:
    document = json.loads((trained / "evaluation.json").read_text())
    quality = document["multiclass_classification_metrics"]
    assert quality["accuracy"]["value"] == evaluation.accuracy.value
    assert quality["weighted_f1"]["value"] == evaluation.weighted_f1.value
    assert 0 < quality["accuracy"]["standard_deviation"] < 0.2
    sea, forest = evaluation.labels.index("sea"), evaluation.labels.index("forest")
    assert quality["confusion_matrix"]["sea"]["forest"] == evaluation.confusion[sea][forest]
    assert read_evaluation(trained) == evaluation


def test_robustness_uses_all_corruptions_on_images_of_every_class(
    evaluation: Evaluation, data: Path, trained: Path
) -> None:
    assert evaluation.robustness is not None
    assert evaluation.robustness.images == ROBUSTNESS_IMAGES
    record, classifier = load_trained(trained)
    entries = scan(data, ("test",)).split("test")
    places = choose(scan(data, ("test",)), "test", ROBUSTNESS_IMAGES, 0)
    assert len({entries[place].label for place in places}) == ROBUSTNESS_IMAGES
    cell = evaluation.robustness.cells[CELLS.index(("contrast", 3))]
    right = []
    for place in places:
        standard = standardise(decode((data / entries[place].path).read_bytes()))
        pixels = preprocess([corrupt(standard, "contrast", 3, place)], record.network.image_spec)
        with torch.inference_mode():
            said = record.labels[int(classifier(torch.from_numpy(pixels)).argmax())]
        right.append(said == entries[place].label)
    assert cell.accuracy == pytest.approx(np.mean(right))


def test_cached_images_equal_computed_ones_and_are_read_instead_of_computed(
    data: Path, trained: Path, cache: Path, tmp_path: Path
) -> None:
    record, _ = load_trained(trained)
    (file,) = cache.iterdir()  # written by the evaluation of this module
    kept = np.load(file)
    spec = record.network.image_spec
    assert kept.shape == (ROBUSTNESS_IMAGES, VIEWS, spec.height, spec.width, 3)

    images = CorruptedImages(scan(data, ("test",)), "test", [3], spec, seed=0)
    (made,) = read_views(images, workers=0, cache=None)
    standard = standardise(decode((data / scan(data, ("test",)).split("test")[3].path).read_bytes()))
    assert np.array_equal(made[:1], preprocess([standard], spec))
    for cell in (("gaussian_noise", 1), ("snow", 2), ("jpeg_compression", 5)):
        view = 1 + CELLS.index(cell)
        assert np.array_equal(made[view : view + 1], preprocess([corrupt(standard, *cell, seed=3)], spec))
    (first,) = read_views(images, workers=1, cache=tmp_path)
    assert np.array_equal(made, first)
    (file,) = tmp_path.iterdir()
    np.save(file, np.full_like(np.load(file), 7))
    (again,) = read_views(images, workers=0, cache=tmp_path)
    assert (again == 7).all()


def test_other_images_seeds_and_sizes_have_different_cache_keys(data: Path, trained: Path) -> None:
    manifest, spec = scan(data, ("test",)), load_trained(trained)[0].network.image_spec
    larger = spec.model_copy(update={"resize_shorter_side": 60})
    digests = {
        CorruptedImages(manifest, "test", places, of, seed).digest
        for places, of, seed in (([1], spec, 0), ([2], spec, 0), ([1, 2], spec, 0), ([1], larger, 0), ([1], spec, 1))
    }
    assert len(digests) == 5


def test_an_interrupted_cache_write_leaves_nothing(data: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    manifest = scan(copy, ("test",))
    images = CorruptedImages(manifest, "test", [0, 1], load_trained(trained)[0].network.image_spec, seed=0)
    (copy / manifest.split("test")[1].path).write_bytes(b"gone")
    with pytest.raises(DataError, match="expected an image"):
        list(read_views(images, workers=0, cache=tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


def test_an_unusable_cache_folder_is_an_error(data: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    images = CorruptedImages(scan(data, ("test",)), "test", [0], load_trained(trained)[0].network.image_spec, seed=0)
    with pytest.raises(DataError, match=r"file: cannot write the cache: .*; choose another folder, or none"):
        list(read_views(images, workers=0, cache=tmp_path / "file"))


def test_the_command_prints_the_scores_and_compares_with_a_champion(
    evaluation: Evaluation, data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    champion, challenger = tmp_path / "champion", tmp_path / "challenger"
    for copy in (champion, challenger):
        shutil.copytree(trained, copy)
    arguments = ["evaluate", "--trained", str(challenger), "--data", str(data), "--robustness-images", "0"]
    arguments += ["--adversary-images", "6"]
    assert main([*arguments, "--champion", str(champion), "--split", "test"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["accuracy"]["value"] == evaluation.accuracy.value
    assert (said["images"], said["champion_p_value"], said["champion_difference"]["high"]) == (36, 1.0, 0.0)
    assert said["mean_corruption_accuracy"] is None
    again = read_evaluation(challenger)
    assert again.robustness is None
    assert again.comparison is not None
    assert again.comparison.champion == "champion"
    assert {attack.images for attack in again.attacks} == {6}


def test_a_wrong_label_is_the_first_issue_and_its_right_label_is_suggested(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Move the most confident right prediction to another label."""
    predictions = read_predictions(trained / "predictions-test.csv")
    surest = int(np.where(predictions.is_right, predictions.probabilities.max(axis=1), 0.0).argmax())
    right, path = predictions.targets[surest], predictions.paths[surest]
    wrong = predictions.labels[int(predictions.probabilities[surest].argmin())]
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / path).rename(tmp_path / "data" / "test" / wrong / "misplaced.jpg")
    shutil.copytree(trained, tmp_path / "trained")
    command = ["evaluate", "--trained", str(tmp_path / "trained"), "--data", str(tmp_path / "data")]
    assert main([*command, "--robustness-images", "0"]) == 0
    with (tmp_path / "trained" / "label_issues-test.csv").open(newline="") as file:
        issues = list(csv.DictReader(file))
    first = issues[0]
    assert (first["path"], first["label"], first["suggested_label"]) == (f"test/{wrong}/misplaced.jpg", wrong, right)
    assert json.loads(capsys.readouterr().out)["label_issues"] == len(issues)
    assert read_evaluation(tmp_path / "trained").label_issues == len(issues)


def test_no_label_issues_are_reported_for_training_images(data: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "val", tmp_path / "data" / "train")
    shutil.copytree(trained, tmp_path / "trained")
    evaluation = assess(tmp_path / "trained", tmp_path / "data", AssessmentOptions(split="train", robustness_images=0))
    assert evaluation.label_issues is None
    assert not (tmp_path / "trained" / "label_issues-train.csv").exists()


def test_evaluating_another_split_keeps_the_evaluation_on_test(data: Path, trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "trained"
    shutil.copytree(trained, copy)
    before = (copy / "evaluation.json").read_bytes()
    of_val = assess(copy, data, AssessmentOptions(split="val", robustness_images=0))
    assert (copy / "evaluation.json").read_bytes() == before
    assert of_val.images == 30
    assert read_evaluation(copy, "val") == of_val
    assert len(read_predictions(copy / "predictions-val.csv").paths) == 30


def test_data_with_other_classes_is_refused(
    data: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    (copy / "test" / "sea").rename(copy / "test" / "ocean")
    assert main(["evaluate", "--trained", str(trained), "--data", str(copy)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "expected the network's classes buildings, forest, glacier, mountain, sea, street, got" in said


def test_a_run_without_a_valid_evaluation_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"evaluation\.json: cannot read the evaluation: No such file.*run `evaluate`"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text('{"driftserve": {}}')
    with pytest.raises(DataError, match=r"evaluation\.json: .*: Field required; run `evaluate` again"):
        read_evaluation(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            ["--robustness-images", "some"],
            "argument --robustness-images: expected a whole number of at least 0 or `all`",
        ),
        (["--batch-size", "0"], "argument --batch-size: expected a whole number of at least 1, got '0'"),
        (["--split", "pred"], "argument --split: invalid choice: 'pred'"),
    ],
)
def test_a_wrong_flag_is_a_one_line_error(wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "--trained", "t", "--data", "d", *wrong])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
