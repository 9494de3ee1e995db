import math
from pathlib import Path

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import strategies as st
from scipy import stats

from driftserve.errors import DataError
from driftserve.inference.prediction import calibrate
from driftserve_training.dataset.manifest import Entry, Manifest
from driftserve_training.evaluation.adversary import EPSILONS, fgsm, measure_attacks, pgd
from driftserve_training.evaluation.calibration import fit_temperature, measure_calibration, reliability
from driftserve_training.evaluation.comparison import compare
from driftserve_training.evaluation.confusion import Counts, confusion_matrix, counts_of, f_score, scores_of
from driftserve_training.evaluation.corrupted import CELLS, VIEWS, choose
from driftserve_training.evaluation.document import Interval
from driftserve_training.evaluation.intervals import RESAMPLES, interval_of, mean_interval, resample
from driftserve_training.evaluation.predictions import Predictions, read_predictions, write_predictions
from driftserve_training.evaluation.quality import quality_metrics
from driftserve_training.evaluation.robustness import measure_robustness
from driftserve_training.evaluation.scores import check_finite, evaluate
from driftserve_training.evaluation.slices import ATTRIBUTES, slices_of
from driftserve_training.network.classifier import Classifier


def _guesses(
    generator: np.random.Generator, number: int, classes: int, right: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return predicted and right class indices. A share `right` of predictions is right; the rest are random."""
    targets = generator.integers(0, classes, number)
    return np.where(generator.random(number) < right, targets, generator.integers(0, classes, number)), targets


@pytest.mark.parametrize("absent", [None, "no image", "neither image nor prediction"])
def test_scores_agree_with_torchmetrics(generator: np.random.Generator, absent: str | None) -> None:
    from torchmetrics.functional import classification  # importable only after driftserve_training

    predicted, targets = _guesses(generator, 200, 5, 0.6)
    if absent:
        targets = np.where(targets == 4, 0, targets)
    if absent == "neither image nor prediction":
        predicted = np.where(predicted == 4, 0, predicted)
    scores = scores_of(counts_of(confusion_matrix(predicted, targets, 5)))
    assert scores.accuracy == pytest.approx((predicted == targets).mean())
    arguments = (torch.from_numpy(predicted), torch.from_numpy(targets), 5)
    for name in ("f1", "precision", "recall"):
        reference = getattr(classification, "multiclass_f1_score" if name == "f1" else f"multiclass_{name}")
        for average in ("macro", "weighted"):
            got = getattr(scores, f"{average}_{name}")
            assert got == pytest.approx(float(reference(*arguments, average=average)), abs=1e-6)
        assert getattr(scores, name) == pytest.approx(reference(*arguments, average=None).numpy(), abs=1e-6)


def test_scores_agree_with_their_definitions() -> None:
    scores = scores_of(counts_of(confusion_matrix(np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0]), 3)))
    assert scores.macro_precision == pytest.approx((1 / 2 + 1 + 2 / 3) / 3)
    assert scores.macro_recall == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    assert scores.macro_f1 == pytest.approx((1 / 2 + 2 / 3 + 4 / 5) / 3)
    assert f_score(counts_of(np.array([[3, 1], [2, 4]])), 2.0)[0] == pytest.approx(5 * 0.6 * 0.75 / (4 * 0.6 + 0.75))


def test_quality_metrics_agree_with_the_example_in_sagemakers_documentation() -> None:
    metrics = quality_metrics(np.array([[1180, 510], [268, 138]]), seed=0)
    expected = {
        "accuracy": 0.6288167938931297,
        "weighted_recall": 0.6288167938931297,
        "weighted_precision": 0.6983172269629505,
        "weighted_f0_5": 0.6803947317178771,
        "weighted_f1": 0.6571162346664904,
        "weighted_f2": 0.6384024354394601,
    }
    assert {name: metrics[name].value for name in expected} == pytest.approx(expected, abs=1e-12)
    assert set(metrics) == {*expected, *(f"{name}_best_constant_classifier" for name in expected)}
    assert metrics["accuracy_best_constant_classifier"].value == pytest.approx(1690 / 2096)
    of_a_share = math.sqrt(0.6288 * 0.3712 / 2096)
    assert metrics["accuracy"].standard_deviation == pytest.approx(of_a_share, rel=0.1)


@pytest.mark.parametrize("score", ["accuracy", "macro_f1", "weighted_precision"])
def test_intervals_agree_with_a_bootstrap_of_images(generator: np.random.Generator, score: str) -> None:
    predicted, targets = _guesses(generator, 150, 3, 0.7)
    confusion = confusion_matrix(predicted, targets, 3)
    value = float(getattr(scores_of(counts_of(confusion)), score))
    interval = interval_of(value, resample(confusion, 3, lambda drawn: vars(scores_of(drawn)))[score])

    def of_images(*drawn: npt.NDArray[np.int64]) -> float:
        return float(getattr(scores_of(counts_of(confusion_matrix(drawn[0], drawn[1], 3))), score))

    reference = stats.bootstrap(
        (predicted, targets), of_images, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=4
    ).confidence_interval
    assert (interval.value, interval.low, interval.high) == pytest.approx((value, *reference), abs=0.012)


def test_resamples_of_many_classes_are_drawn_in_parts(generator: np.random.Generator) -> None:
    confusion = generator.integers(0, 3, (130, 130))
    parts: list[int] = []

    def measure(drawn: Counts) -> dict[str, npt.NDArray[np.float64]]:
        parts.append(len(drawn.actual))
        return {"actual": drawn.actual, "predicted": drawn.predicted, "correct": drawn.correct}

    resampled = resample(confusion, 3, measure)
    assert max(parts) * np.count_nonzero(confusion) * 8 < 40e6  # bytes
    number = confusion.sum()
    at_once = np.random.default_rng(3).multinomial(number, confusion.ravel() / number, RESAMPLES)
    matrices = at_once.reshape(-1, 130, 130)
    assert np.array_equal(resampled["actual"], matrices.sum(axis=2))
    assert np.array_equal(resampled["predicted"], matrices.sum(axis=1))
    assert np.array_equal(resampled["correct"], matrices.diagonal(axis1=1, axis2=2))


def test_the_interval_of_a_mean_resamples_all_results_of_an_image_together(generator: np.random.Generator) -> None:
    results = generator.random((60, 1)) < generator.random((60, 40))  # correlated within an image
    interval = mean_interval(results.mean(axis=1), 3)
    reference = stats.bootstrap(
        (results.mean(axis=1),), np.mean, n_resamples=2000, method="percentile", rng=4
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx(tuple(reference), abs=0.01)
    alone = mean_interval(results.ravel().astype(np.float64), 3)
    assert interval.high - interval.low > 1.5 * (alone.high - alone.low)


def test_95_percent_of_the_intervals_contain_the_true_value(generator: np.random.Generator) -> None:
    held = 0
    for seed in range(300):
        right = (generator.random(200) < 0.8).astype(np.float64)
        interval = mean_interval(right, seed)
        held += interval.low <= 0.8 <= interval.high
    assert 0.91 <= held / 300 <= 0.98


def test_the_same_seed_gives_the_same_interval(generator: np.random.Generator) -> None:
    values = generator.random(50)
    assert mean_interval(values, 7) == mean_interval(values, 7) != mean_interval(values, 8)


def test_calibration_agrees_with_independent_references(generator: np.random.Generator) -> None:
    from torchmetrics.classification import MulticlassCalibrationError

    logits = generator.normal(0, 2, (500, 4)).astype(np.float32)
    targets = generator.integers(0, 4, 500)
    probabilities = calibrate(logits, 1.3)
    calibration = measure_calibration(probabilities, targets)

    reference = MulticlassCalibrationError(4, n_bins=15, norm="l1")
    assert calibration.ece == pytest.approx(
        float(reference(torch.from_numpy(probabilities), torch.from_numpy(targets))), abs=1e-6
    )
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits).double() / 1.3, torch.from_numpy(targets))
    assert calibration.nll == pytest.approx(float(loss))
    squares = [
        sum((p - (k == t)) ** 2 for k, p in enumerate(row)) for row, t in zip(probabilities, targets, strict=True)
    ]
    assert calibration.brier == pytest.approx(float(np.mean(squares)))


def test_a_certain_but_wrong_network_has_the_worst_calibration() -> None:
    calibration = measure_calibration(np.eye(3)[[0, 0, 1]], np.array([1, 2, 0]))
    assert (calibration.ece, calibration.brier) == (1.0, 2.0)
    assert math.isfinite(calibration.nll)


def test_a_bin_includes_its_upper_end_and_empty_bins_are_omitted() -> None:
    probabilities = np.array([[1.0, 0.0], [0.4, 0.6], [0.61, 0.39]])
    low, middle, high = reliability(probabilities, np.array([0, 0, 0]))
    assert (low.high, low.images, low.confidence, low.accuracy) == pytest.approx((0.6, 1, 0.6, 0.0))
    assert (middle.low, middle.images, middle.accuracy) == pytest.approx((0.6, 1, 1.0))
    assert (high.low, high.high, high.images) == pytest.approx((14 / 15, 1.0, 1))


def _predictions(is_right: list[int]) -> Predictions:
    """Return predictions for images of the first of two classes; 1 means a right prediction, 0 a wrong one."""
    right = np.array(is_right)
    return Predictions(
        ("sea", "forest"),
        tuple(f"test/sea/{place}.jpg" for place in range(len(right))),
        ("sea",) * len(right),
        np.column_stack([0.1 + 0.8 * right, 0.9 - 0.8 * right]),
    )


def test_the_comparison_uses_images_that_only_one_model_predicts_right() -> None:
    challenger = _predictions([1] * 10 + [0] * 2 + [1] * 80 + [0] * 8)
    champion = _predictions([0] * 10 + [1] * 2 + [1] * 80 + [0] * 8)
    comparison = compare(challenger, champion, "old", seed=0)
    assert (comparison.challenger_alone_right, comparison.champion_alone_right, comparison.images) == (10, 2, 100)
    assert comparison.p_value == pytest.approx(2 * sum(math.comb(12, k) for k in range(3)) / 2**12)
    assert comparison.difference.value == pytest.approx(0.08)
    assert (comparison.challenger_accuracy, comparison.champion_accuracy) == pytest.approx((0.90, 0.82))
    normal = 1.96 * math.sqrt((0.12 - 0.08**2) / 100)  # the variance of a paired difference
    assert (comparison.difference.low, comparison.difference.high) == pytest.approx(
        (0.08 - normal, 0.08 + normal), abs=0.02
    )


def test_the_order_of_the_champions_images_and_classes_does_not_matter() -> None:
    challenger, champion = _predictions([1, 1, 0, 0]), _predictions([1, 0, 0, 0])
    turned = Predictions(
        champion.labels[::-1], champion.paths[::-1], champion.targets[::-1], champion.probabilities[::-1, ::-1]
    )
    assert compare(challenger, turned, "old", 0) == compare(challenger, champion, "old", 0)


def test_equal_predictions_show_no_difference() -> None:
    comparison = compare(_predictions([1, 0, 1]), _predictions([1, 0, 1]), "old", 0)
    assert (comparison.p_value, comparison.difference) == (1.0, Interval(0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paths": ("test/sea/0.jpg", "test/sea/9.jpg")}, r"old: expected predictions of the same 2 images, .*sea/1"),
        ({"paths": ("test/sea/0.jpg",) * 2}, r"old: expected predictions of the same 2 images, got 2"),
        ({"targets": ("sea", "forest")}, r"expected the same true labels, got forest instead of sea for .*1\.jpg"),
        ({"labels": ("sea", "street")}, r"expected predictions of sea, forest, got sea, street"),
    ],
)
def test_a_champion_with_other_images_or_labels_is_refused(change: dict[str, tuple[str, ...]], message: str) -> None:
    ours = _predictions([1, 0])
    theirs = {"labels": ours.labels, "paths": ours.paths, "targets": ours.targets} | change
    with pytest.raises(DataError, match=message):
        compare(ours, Predictions(**theirs, probabilities=ours.probabilities), "old", 0)


def test_predictions_are_read_back_unchanged(tmp_path: Path, generator: np.random.Generator) -> None:
    probabilities = generator.dirichlet(np.ones(2), 3)
    entries = [Entry(f"val/sea/{place}, odd.jpg", "val", "sea", "") for place in range(3)]
    write_predictions(tmp_path / "p.csv", entries, ("forest", "sea"), probabilities)
    predictions = read_predictions(tmp_path / "p.csv")
    assert np.array_equal(predictions.probabilities, probabilities)
    assert (predictions.labels, predictions.targets) == (("forest", "sea"), ("sea",) * 3)
    assert predictions.paths == tuple(entry.path for entry in entries)


@pytest.mark.parametrize(
    "text",
    ["", "path,label,sea\n", "path,label,sea\na,sea,much\n", "path,label,sea\na,sea\n", "a,b,c\na,sea,1\n"],
    ids=["empty", "no rows", "no number", "a row too short", "other columns"],
)
def test_an_invalid_predictions_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=r"p\.csv: (expected|cannot read) .*; run `evaluate` to write them"):
        read_predictions(tmp_path / "p.csv")


def _manifest(**images: int) -> Manifest:
    entries = [
        Entry(f"test/{label}/{place}.jpg", "test", label, "")
        for label, number in images.items()
        for place in range(number)
    ]
    return Manifest(Path(), tuple(entries))


def test_images_are_chosen_evenly_across_labels_as_far_as_possible() -> None:
    manifest = _manifest(forest=20, sea=3, street=20)
    places = choose(manifest, "test", 13, seed=1)
    labels = [manifest.entries[place].label for place in places]
    assert (labels.count("forest"), labels.count("sea"), labels.count("street")) == (5, 3, 5)
    assert places == choose(manifest, "test", 13, seed=1) != choose(manifest, "test", 13, seed=2)
    assert places == sorted(set(places))
    assert choose(manifest, "test", None, 1) == choose(manifest, "test", 99, 1) == list(range(43))


class FakeClassifier(Classifier):
    """Predicts the class whose index is the first pixel."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Identity(), (0.5,) * 3, (0.5,) * 3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.eye(3)[pixels[:, 0, 0, 0].long()]


def test_robustness_is_the_accuracy_on_each_view(generator: np.random.Generator) -> None:
    said = generator.integers(0, 3, (8, VIEWS)).astype(np.uint8)
    views = [np.broadcast_to(row[:, None, None, None], (VIEWS, 3, 2, 2)).copy() for row in said]
    targets = np.arange(8) % 3
    robustness = measure_robustness(FakeClassifier(), iter(views), targets, batch_size=30, seed=0)
    assert robustness.images == 8
    assert robustness.clean_accuracy == pytest.approx(
        np.mean([row[0] == t for row, t in zip(said, targets, strict=True)])
    )
    for place, (cell, (name, severity)) in enumerate(zip(robustness.cells, CELLS, strict=True)):
        expected = np.mean([row[1 + place] == t for row, t in zip(said, targets, strict=True)])
        assert (cell.corruption, cell.severity, cell.accuracy) == (name, severity, pytest.approx(expected))
    mean = robustness.mean_corruption_accuracy
    assert mean.value == pytest.approx(np.mean([cell.accuracy for cell in robustness.cells]))
    assert mean.low < mean.value < mean.high


def _outcomes(is_right: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return probabilities of two classes and targets, so that predictions are right where `is_right`."""
    return np.eye(2)[is_right.astype(int)], np.ones(len(is_right), np.int64)


def test_slices_are_thirds_of_the_images_by_attribute() -> None:
    levels = np.arange(10, 250, 20)  # twelve images, dark to bright
    images = [np.full((40, 40, 3), level, np.uint8) for level in levels]
    slices = slices_of(images, *_outcomes(levels > 80), seed=0)
    by_brightness = [part for part in slices if part.attribute == "brightness"]
    assert [(part.part, part.images) for part in by_brightness] == [("low", 4), ("middle", 4), ("high", 4)]
    assert [part.accuracy.value for part in by_brightness] == [0.0, 1.0, 1.0]
    assert (by_brightness[0].low, by_brightness[0].high) == (10.0, 70.0)
    assert {part.attribute for part in slices} == set(ATTRIBUTES)


def test_images_of_an_unusual_size_form_their_own_slices() -> None:
    images = [np.zeros((side, 50, 3), np.uint8) for side in [20, 30] + [50] * 17 + [80]]
    slices = slices_of(images, *_outcomes(np.array([False] * 2 + [True] * 18)), seed=0)
    sizes = [(part.part, part.images, part.accuracy.value) for part in slices if part.attribute == "pixels"]
    assert sizes == [("low", 2, 0.0), ("middle", 17, 1.0), ("high", 1, 1.0)]


class FakeLinearClassifier(Classifier):
    """Predicts the second of two classes if the mean of the pixels is above 128."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Identity(), (0.5,) * 3, (0.5,) * 3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        distance = pixels.float().mean(dim=(1, 2, 3)) - 128
        return torch.stack([-distance, distance], dim=1)


def test_attacks_move_towards_the_wrong_class_by_at_most_epsilon() -> None:
    classifier, generator = FakeLinearClassifier(), torch.Generator().manual_seed(0)
    pixels = torch.stack([torch.full((3, 4, 4), level, dtype=torch.uint8) for level in (124, 131, 118, 140)])
    targets = torch.tensor([0, 1, 0, 1])
    expected = torch.tensor([128, 127, 122, 136], dtype=torch.uint8)  # computed by hand: towards the other class
    for changed in (fgsm(classifier, pixels, targets, 4), pgd(classifier, pixels, targets, 4, generator)):
        assert changed.dtype == torch.uint8
        assert torch.equal(changed, expected[:, None, None, None].expand_as(changed))


def test_an_attacked_image_stays_within_the_pixel_range() -> None:
    pixels = torch.stack([torch.full((3, 2, 2), level, dtype=torch.uint8) for level in (1, 254)])
    targets = torch.tensor([1, 0])  # so that the attack would leave the range 0 to 255
    generator = torch.Generator().manual_seed(0)
    for changed in (
        fgsm(FakeLinearClassifier(), pixels, targets, 8),
        pgd(FakeLinearClassifier(), pixels, targets, 8, generator),
    ):
        assert changed[0].unique().tolist() == [0]
        assert changed[1].unique().tolist() == [255]


def test_accuracy_under_attack_falls_for_images_within_epsilon_of_the_boundary() -> None:
    pixels = torch.stack([torch.full((3, 4, 4), level, dtype=torch.uint8) for level in (131, 135, 150)])
    batches = [(pixels[:2], torch.tensor([1, 1])), (pixels[2:], torch.tensor([1]))]
    attacks = {(attack.name, attack.epsilon): attack for attack in measure_attacks(FakeLinearClassifier(), batches, 0)}
    assert set(attacks) == {(name, epsilon) for name in ("fgsm", "pgd") for epsilon in EPSILONS}
    for name in ("fgsm", "pgd"):
        accuracies = [attacks[name, epsilon].accuracy.value for epsilon in EPSILONS]
        assert accuracies == pytest.approx([1, 1, 2 / 3, 1 / 3])
    assert attacks["pgd", 8].images == 3


@pytest.mark.fuzz
@hypothesis.given(
    rows=st.integers(2, 4).flatmap(
        lambda classes: st.lists(
            st.tuples(st.lists(st.floats(width=32), min_size=classes, max_size=classes), st.integers(0, classes - 1)),
            min_size=1,
            max_size=4,
        )
    )
)
def test_any_logits_are_refused_or_give_finite_scores(rows: list[tuple[list[float], int]]) -> None:
    logits = np.array([values for values, _ in rows], np.float32)
    targets = np.array([target for _, target in rows])
    if not np.isfinite(logits).all():
        with pytest.raises(DataError, match=rf"^val: expected finite logits, .* of {len(rows)} images; train again"):
            check_finite(logits, "val")
        return
    check_finite(logits, "val")
    temperature = fit_temperature(logits, targets)
    assert 0.05 <= temperature <= 20
    probabilities = calibrate(logits, temperature)
    assert probabilities.sum(axis=1) == pytest.approx(1.0)
    scores, calibration = evaluate(probabilities, targets), measure_calibration(probabilities, targets)
    for value in (scores.accuracy, scores.macro_f1, scores.macro_precision, scores.macro_recall, calibration.ece):
        assert 0 <= value <= 1 + 1e-9
    assert math.isfinite(calibration.nll)
    assert -1e-9 <= calibration.brier <= 2 + 1e-9
