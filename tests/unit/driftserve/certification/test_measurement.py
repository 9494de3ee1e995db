import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from driftserve.archive.contract import MOST_REFERENCE_IMAGES, DriftPolicy
from driftserve.certification.corruption.imagenet_c import corrupt, standardise
from driftserve.certification.measurement import Effort, certify, false_alarms, to_false_alarms, upper_bound
from driftserve.certification.population import Population, image_files, read_standard, score_population, targets_of
from driftserve.drift.detection import is_drift
from driftserve.drift.reference import estimate_accuracy, mean_confidence
from driftserve.drift.window import count_rows
from driftserve.errors import DataError
from driftserve.inference.scoring import Scored
from image_folders import add_companions, write_images
from sample_images import encode, scene

NAMES = ("probability.a", "probability.b", "embedding.0", "embedding.1")
CELLS = (("brightness", 1), ("contrast", 5))
EFFORT = Effort("short", CELLS, images=100, draws=3, windows=40, corrupted_windows=10)
POLICY = DriftPolicy(window_size=50, windows_between_false_alarms=100)


def _rows(generator: np.random.Generator, number: int) -> npt.NDArray[np.float64]:
    certain = generator.uniform(0.5, 1.0, number)
    probabilities = np.where(generator.random((number, 1)) < 0.5, [[1, 0]], [[0, 1]]) * (2 * certain - 1)[:, None]
    return np.column_stack([probabilities + (1 - certain)[:, None], generator.normal(size=(number, 2))])


def _population(generator: np.random.Generator, number: int = 400, chosen: int = 100) -> Population:
    clean = _rows(generator, number)
    indices = np.sort(generator.permutation(number)[:chosen])
    moved = clean[indices] + [0, 0, 3, 0]
    targets = clean[:, :2].argmax(axis=1)
    return Population(NAMES, clean, indices, {CELLS[0]: clean[indices], CELLS[1]: moved}, targets)


def test_windows_without_drift_rarely_alarm_and_drifted_ones_are_detected(generator: np.random.Generator) -> None:
    certificate = certify(_population(generator), POLICY, EFFORT, "drawn", seed=1)
    (alarms,) = certificate.false_alarms  # a half of 200 images has no long window of 250
    assert (alarms.size, alarms.budget, alarms.windows) == (50, 0.005, 40)
    assert alarms.rate <= alarms.worst <= 0.05
    assert alarms.upper_bound > alarms.rate
    calm, moved = certificate.power
    assert (calm.corruption, calm.severity, moved.corruption, moved.severity) == ("brightness", 1, "contrast", 5)
    assert calm.power is not None
    assert (calm.power < 0.3, moved.power, moved.long_power) == (True, 1.0, None)
    assert (moved.accuracy, certificate.reference_images, certificate.draws) == (1.0, 200, 3)
    assert moved.estimated_accuracy == pytest.approx(1.0, abs=0.05)


def test_the_same_seed_gives_the_same_certificate(generator: np.random.Generator) -> None:
    population = _population(generator)
    first, second, other = (certify(population, POLICY, EFFORT, "drawn", seed) for seed in (1, 1, 2))
    assert first == second
    assert first.model_dump(exclude={"seed"}) != other.model_dump(exclude={"seed"})


def test_the_two_halves_are_disjoint_and_differ_in_each_draw(generator: np.random.Generator) -> None:
    for chosen in (160, 400):
        population = _population(generator, 400, chosen)
        references = [set(draw.reference_indices) for draw in population.halves(3, seed=0)]
        assert len(set(map(frozenset, references))) == 3
        for draw, indices in zip(population.halves(3, seed=0), references, strict=True):
            assert (len(indices), len(draw.traffic)) == (200, 200)
            assert indices | set(draw.traffic) == set(range(400))
            assert np.array_equal(np.sort(population.clean[list(indices), 2]), draw.reference.ordered[2])


def test_corrupted_images_are_never_in_a_reference(generator: np.random.Generator) -> None:
    population = _population(generator, chosen=200)
    population.clean[population.chosen, 2] += 100  # a reference with one of them would look like the traffic
    (alarms,) = certify(population, POLICY, EFFORT, "drawn", seed=1).false_alarms
    assert alarms.rate == 1.0


def test_a_reference_of_a_draw_is_no_larger_than_an_archives(generator: np.random.Generator) -> None:
    images = 2 * MOST_REFERENCE_IMAGES + 100
    population = Population(NAMES, generator.random((images, 4)), np.arange(300), {}, None)
    (draw,) = population.halves(1, seed=0)
    assert draw.reference.size == len(draw.reference_indices) == MOST_REFERENCE_IMAGES
    assert sorted([*draw.reference_indices, *draw.traffic]) == list(range(images))
    assert set(range(300)) <= set(draw.traffic)


def test_the_halves_are_disjoint_even_if_all_images_were_corrupted(generator: np.random.Generator) -> None:
    population = _population(generator, 700, 700)
    certificate = certify(population, POLICY, EFFORT, "drawn", seed=1)
    assert [alarms.size for alarms in certificate.false_alarms] == [50, 250]
    assert [power.long_power is not None for power in certificate.power] == [True, True]
    assert certificate.power[1].long_power == 1.0


def test_power_compares_windows_of_traffic_with_the_references(generator: np.random.Generator) -> None:
    """The drift is weak, with a power between 0 and 1, so that a wrong reference or level changes the result."""
    population = _population(generator, 700, 700)
    corrupted = {cell: population.clean + np.array([0, 0, by, 0]) for cell, by in zip(CELLS, (0.37, 0.7), strict=True)}
    population = dataclasses.replace(population, corrupted=corrupted)
    certificate = certify(population, POLICY, EFFORT, "drawn", seed=1)
    draws = population.halves(EFFORT.draws, seed=1)
    horizons = ((50, POLICY.level, EFFORT.windows), (250, POLICY.long_level, EFFORT.windows))
    for size, level, windows in horizons:
        false_alarms(population, draws, size, level, windows)  # advances the random generators of the draws

    def expected(rows: npt.NDArray[np.float64], size: int, level: float) -> float:
        alarms = [
            is_drift(
                count_rows(rows[draw.generator.choice(draw.traffic, size, replace=False)], draw.reference),
                draw.reference,
                level,
            )
            for draw in draws
            for _ in range(EFFORT.corrupted_windows)
        ]
        return float(np.mean(alarms))

    for got, rows in zip(certificate.power, corrupted.values(), strict=True):
        assert got.power == pytest.approx(expected(rows, 50, POLICY.level))
        assert got.long_power == pytest.approx(expected(rows, 250, POLICY.long_level))
        estimates = [estimate_accuracy(mean_confidence(rows[draw.traffic], 2), draw.reference, 1.0) for draw in draws]
        assert got.estimated_accuracy == pytest.approx(np.mean(estimates))
    weak, strong = certificate.power
    assert weak.long_power is not None
    assert strong.power is not None
    assert (0 < weak.long_power < 1, 0 < strong.power < 1) == (True, True)


def test_the_rates_of_the_draws_are_summarised() -> None:
    alarms = to_false_alarms(np.array([0.0, 0.01, 0.05]), 200, 5e-4, 100)
    assert (alarms.rate, alarms.worst) == (pytest.approx(0.02), 0.05)


@pytest.mark.parametrize("number", [60, 110])
def test_too_few_images_for_a_choice_of_windows_are_not_measured(generator: np.random.Generator, number: int) -> None:
    certificate = certify(_population(generator, number, number // 2), POLICY, EFFORT, "drawn", seed=1)
    assert certificate.false_alarms == ()
    assert [(power.power, power.long_power) for power in certificate.power] == [(None, None)] * 2


def test_without_labels_the_accuracy_is_only_estimated(generator: np.random.Generator) -> None:
    population = dataclasses.replace(_population(generator), targets=None)
    power = certify(population, POLICY, EFFORT, "drawn", seed=1).power[0]
    assert power.accuracy is None
    assert power.estimated_accuracy == pytest.approx(population.clean[:, :2].max(axis=1).mean(), abs=0.05)


def test_the_upper_bound_is_exact_without_alarms_and_wide_if_draws_differ() -> None:
    assert upper_bound(np.zeros(20), 100) == pytest.approx(1 - 0.05 ** (1 / 2000))
    rates = np.array([0.0, 0.0, 0.0, 0.1])
    interval = stats.ttest_1samp(rates, 0).confidence_interval(0.90)
    assert upper_bound(rates, 100_000) == pytest.approx(interval.high)
    assert upper_bound(np.ones(3), 10) == 1.0


def test_a_population_is_scored_at_the_standard_size(generator: np.random.Generator, tmp_path: Path) -> None:
    scenes = [scene(generator) for _ in range(10)]
    for number, image in enumerate(scenes):
        (tmp_path / f"{number}.png").write_bytes(encode(image))
    (tmp_path / "notes.txt").write_text("none of them")

    def fake_score(images: Iterable[npt.NDArray[np.uint8]]) -> Scored:
        """A fake: its only feature is the sum of the pixels."""
        sums = np.array([[float(image.sum())] for image in images])
        return Scored(np.zeros((len(sums), 2), np.float32), np.zeros((len(sums), 2)), sums, 1)

    files = image_files(tmp_path, "*")
    population = score_population(files, None, ("embedding.0",), fake_score, CELLS, most=100, seed=3)
    assert len(population.chosen) == 4  # of ten: the reference needs five, with some to choose from
    assert population.clean[:, 0].tolist() == [float(standardise(image).sum()) for image in scenes]
    for cell in CELLS:
        expected = [float(corrupt(standardise(scenes[i]), *cell, 3 + int(i)).sum()) for i in population.chosen]
        assert population.corrupted[cell][:, 0].tolist() == expected


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected images as \*/\*, got none"):
        image_files(tmp_path, "*/*")


def test_files_whose_names_begin_with_a_dot_are_no_images(tmp_path: Path) -> None:
    write_images(tmp_path, {"sea": 2, "ice/deep": 1})
    files = image_files(tmp_path, "**/*")
    add_companions(tmp_path)
    assert image_files(tmp_path, "**/*") == files
    assert [path.name for path in image_files(tmp_path, "*/*")] == ["0.png", "1.png"]


def test_the_error_names_images_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "0.png"
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"0\.png: expected an image"):
        read_standard(file)
    with pytest.raises(DataError, match="expected images of b, c, got a"):
        targets_of([file], ("b", "c"))
    assert targets_of([file, file], ("b", "a")).tolist() == [1, 1]
    with pytest.raises(DataError, match="expected at least 10 images to measure a drift detector with, got 1"):
        score_population([file], None, NAMES, lambda _: Scored(*[np.zeros((0, 0))] * 3, 1), CELLS, None, seed=0)
