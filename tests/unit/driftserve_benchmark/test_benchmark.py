"""Tests of the drift benchmark's measures, on populations with known results."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

import driftserve
from driftserve.archive.contract import Contract, DriftPolicy
from driftserve.certification.measurement import FULL, false_alarms
from driftserve.certification.population import Population
from driftserve.drift.reference import to_reference
from driftserve.errors import DataError
from driftserve_benchmark import cells, measures
from driftserve_benchmark.__main__ import main
from driftserve_benchmark.cells import _SCORING_CODE, Images, Task, _images, score_all
from driftserve_benchmark.detectors import STAKES, Detector, _log_multipliers, e_process, log_capital, two_horizons
from driftserve_benchmark.report import Extent, measure
from driftserve_benchmark.synthetic import SyntheticFeatures
from sample_images import LABELS, encode, scene

NAMES = ("probability.a", "probability.b", "embedding.0", "embedding.1")
POLICY = DriftPolicy(window_size=40, windows_between_false_alarms=50)


def _rows(generator: np.random.Generator, number: int) -> npt.NDArray[np.float64]:
    probability = generator.uniform(0, 1, number)
    first = generator.normal(size=number)
    return np.column_stack([probability, 1 - probability, first, 0.8 * first + 0.6 * generator.normal(size=number)])


@pytest.fixture
def population(generator: np.random.Generator) -> Population:
    clean = _rows(generator, 600)
    corrupted = {("fog", 1): clean, ("fog", 3): clean + np.array([0, 0, 2, 0])}
    return Population(NAMES, clean, np.arange(600), corrupted, None)


def test_false_alarms_are_near_their_level_and_drifted_windows_are_detected(population: Population) -> None:
    draws = population.halves(5, seed=0)
    alarms = false_alarms(population, draws, POLICY.window_size, POLICY.level, 100)
    assert alarms.rate <= 0.04  # the level is .01
    assert measures.power(draws, measures.windows_of(population.corrupted["fog", 3], 40), 0.01, 5) == 1.0
    assert (
        measures.softmax_power(population, draws, measures.windows_of(population.corrupted["fog", 3], 40), 0.01, 5)
        < 0.3
    )
    sure = population.clean.copy()
    sure[:, 0] = 1 - sure[:, 0] / 4
    assert measures.softmax_power(population, draws, measures.windows_of(sure, 40), 0.01, 5) == 1.0


def test_windows_are_drawn_as_specified(population: Population, generator: np.random.Generator) -> None:
    targets = np.arange(600) % 3
    traffic = np.arange(300)
    rows = measures.without_class(population, targets, 1, 50)(traffic, generator)
    allowed = population.clean[traffic[targets[traffic] != 1], 2]
    assert set(rows[:, 2]) <= set(allowed)
    ood_rows = np.full((20, 4), 99.0)
    mixed = measures.with_ood_images(population, ood_rows, 0.2, 50)(traffic, generator)
    assert (mixed.shape, int((mixed[:, 2] == 99).sum())) == ((50, 4), 10)
    assert len(np.unique(rows[:, 2])) == 50  # without replacement
    assert len(measures.without_class(population, targets, 1, 250)(traffic, generator)) == 200  # all available rows


def test_synthetic_features_have_the_marginals_and_correlations_of_real_ones(generator: np.random.Generator) -> None:
    rows = _rows(generator, 2000)
    draws = SyntheticFeatures(rows).draw(5000, generator)
    assert all(stats.ks_2samp(rows[:, column], draws[:, column]).pvalue > 1e-3 for column in range(4))
    assert np.allclose(np.corrcoef(draws[:, 2:], rowvar=False), np.corrcoef(rows[:, 2:], rowvar=False), atol=0.05)


def test_synthetic_windows_alarm_at_their_level(population: Population) -> None:
    alarms = measures.calm_synthetic(population, 300, draws=4, size=60, level=0.05, windows=100, seed=1)
    assert 0 < alarms.rate <= 0.1
    loud = DriftPolicy(window_size=20, windows_between_false_alarms=10)
    quiet = DriftPolicy(window_size=20, windows_between_false_alarms=10**9)

    def alarmed(policy: DriftPolicy, detector: Detector, size: int) -> list[bool]:
        runs = measures.calm_runs(population, size, policy, runs=10, windows=20, seed=1)
        return [detector(run.rows, run.reference, policy) is not None for run in runs]

    assert any(alarmed(loud, two_horizons, 3000))
    for detector in (two_horizons, e_process):
        assert not any(alarmed(quiet, detector, 300))
    runs = list(measures.calm_runs(population, 3000, loud, runs=10, windows=20, seed=1))
    threshold = measures.threshold_for([float(log_capital(run.rows, run.reference).max()) for run in runs], 0.3)
    assert sum(alarmed(loud, partial(e_process, threshold=threshold), 3000)) == 3


def test_the_capital_of_an_e_process_does_not_grow_without_drift(generator: np.random.Generator) -> None:
    """Without drift, the expected factor of each bet is at most one, so by Jensen's inequality no bet grows."""
    for _ in range(3):
        reference = to_reference(NAMES, _rows(generator, 1000))
        bets = _log_multipliers(_rows(generator, 4000), reference)
        assert np.exp(bets).mean(axis=0).max() <= 1.0
        assert bets.shape == (4000, 4 * 2 * 2 * len(STAKES))


def test_the_delay_counts_observations_until_the_alarm(population: Population) -> None:
    draws = population.halves(3, seed=0)
    moved, calm = (measures.windows_of(population.corrupted["fog", severity], 200) for severity in (3, 1))
    windows, process = measures.delays(draws, moved, POLICY, (two_horizons, e_process))
    assert (windows, 5 < process < 40) == (40, True)
    windows, process = measures.delays(draws, calm, POLICY, (two_horizons, e_process))
    assert (windows > 400, process) == (True, 600)


def test_the_long_window_detects_drift_that_no_single_window_detects(generator: np.random.Generator) -> None:
    policy = DriftPolicy(window_size=40, windows_between_false_alarms=1000)
    reference = to_reference(NAMES, _rows(generator, 3000))
    rows = _rows(generator, 200) + np.array([0, 0, 0.5, 0.4])
    assert two_horizons(rows, reference, policy) == 200
    assert two_horizons(rows[:199], reference, policy) is None


def test_harmful_drift_is_recognised_when_confidence_falls_with_accuracy(generator: np.random.Generator) -> None:
    certain = generator.uniform(0.5, 1, 2000)
    targets = (generator.random(2000) > certain).astype(np.int64)  # calibrated: right with this probability
    clean = np.column_stack([certain, 1 - certain, np.zeros((2000, 2))])
    unsure = 0.5 + (certain - 0.5) * 0.2
    wrong_where = np.where(generator.random(2000) < unsure, targets, 1 - targets)
    harmful = np.column_stack([unsure, 1 - unsure, np.zeros((2000, 2))])
    harmful[wrong_where == 1, :2] = harmful[wrong_where == 1, 1::-1]
    population = Population(NAMES, clean, np.arange(2000), {("fog", 1): clean, ("fog", 5): harmful}, targets)
    harm = measures.harm(population, targets, population.halves(3, seed=0))
    assert (harm.harmful, harm.auc) == (1, 1.0)
    assert harm.mean_error < 0.15


def _real_population(contract: Contract, generator: np.random.Generator, number: int) -> Population:
    """Return a population from a contract's reference with all 75 corruptions; severity 1 changes it only slightly."""
    columns = np.array(list(contract.reference.values()))
    clean = columns[:, generator.integers(columns.shape[1], size=number)].T.copy()
    clean[:, 3:] += generator.normal(0, 0.1, clean[:, 3:].shape)
    brighter = np.zeros(clean.shape[1])
    brighter[contract.feature_names.index("brightness")] = 30.0
    corrupted = {(name, severity): clean + brighter * severity for name, severity in FULL.cells}
    targets = clean[:, :3].argmax(axis=1)
    return Population(contract.feature_names, clean, np.arange(number), corrupted, targets)


def test_traffic_until_the_alarm_is_equal_for_all_senders(contract: Contract, generator: np.random.Generator) -> None:
    population = _real_population(contract, generator, 600)
    calm, moved = population.clean[:300], population.corrupted["fog", 5][300:]
    for senders in (1, 4, 16):
        assert measures.traffic_to_alarm(contract, calm, moved, senders, seed=0) == 50
        assert measures.traffic_to_alarm(contract, calm, population.clean[300:420], senders, seed=0) == 120  # no alarm


def test_a_report_has_every_measure_and_marks_unmet_targets(contract: Contract, generator: np.random.Generator) -> None:
    small = contract.model_copy(update={"drift": DriftPolicy(window_size=20, windows_between_false_alarms=1000)})
    population = _real_population(contract, generator, 600)
    images = Images(population, population.clean[:0], np.zeros((600, 192)))
    report = measure(images, small, Extent(draws=2, windows=30, runs=2, power_windows=2, session_draws=0))
    met = {row.measure: row.is_met for row in report.rows}
    assert met["severity 3 seen with power >= 0.95"] is True
    assert met["20% OOD images, in 100"] is None
    assert any(row.measured == "not measured: 0 OOD images are too few" for row in report.rows)
    assert not report.is_met  # too few windows to bound a rate
    assert any("AUC not measured" in row.measured for row in report.rows)  # no corruption is harmful here
    assert report.to_markdown().count("| 1.00 |") >= 15
    assert "| observations to the alarm: one class removed |" in report.to_markdown()
    few = Images(_real_population(contract, generator, 150), population.clean[:0], np.zeros((150, 192)))
    with pytest.raises(DataError, match="expected at least 200 images in val/ and stream/ together"):
        measure(few, small, Extent(2, 30, 2, 2))


def test_images_are_scored_once_and_cached(
    archive: Path,
    contract: Contract,
    tmp_path: Path,
    generator: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for split in ("val", "stream"):
        for label in LABELS:
            (tmp_path / "data" / split / label).mkdir(parents=True)
            (tmp_path / "data" / split / label / "0.png").write_bytes(encode(scene(generator)))
    (tmp_path / "ood").mkdir()
    (tmp_path / "ood" / "a.png").write_bytes(encode(scene(generator)))

    def scored() -> Images:
        return score_all(archive, tmp_path / "data", tmp_path / "ood", tmp_path / "cache", 2)

    first = scored()
    assert first.population.clean.shape == (6, len(contract.feature_names))
    assert first.targets.tolist() == [2, 1, 0, 2, 1, 0]
    assert first.ood_rows.shape[0] == 2
    assert set(first.population.corrupted) == set(FULL.cells)
    assert first.looks.shape == (6, 8 * 8 * 3)
    (kept,) = (tmp_path / "cache").glob("*/snow-2.npy")
    np.save(kept, np.zeros(3))
    assert scored().population.corrupted["snow", 2].tolist() == [0, 0, 0]
    (tmp_path / "ood" / "a.png").write_bytes(encode(scene(generator)))  # a different image with the same name
    monkeypatch.setattr(cells, "FULL", replace(FULL, cells=(("snow", 2),)))  # scores again; one cell is enough
    assert np.array_equal(scored().population.corrupted["snow", 2], first.population.corrupted["snow", 2])


def test_out_of_distribution_images_can_be_mirrored(tmp_path: Path, generator: np.random.Generator) -> None:
    (tmp_path / "a.png").write_bytes(encode(scene(generator)))
    plain, mirrored = (
        next(iter(_images(Task("ood", (tmp_path / "a.png",), is_mirrored=is_mirrored))))
        for is_mirrored in (False, True)
    )
    assert np.array_equal(plain, mirrored[:, ::-1])


def test_every_pattern_of_the_scoring_code_matches_a_file() -> None:
    package = Path(driftserve.__file__).parent
    assert [pattern for pattern in _SCORING_CODE if not list(package.glob(pattern))] == []


def test_a_folder_without_images_is_a_one_line_error(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--archive", str(archive), "--data", str(tmp_path), "--cache", str(tmp_path / "cache")]) == 1
    assert "expected images as */*, got none" in capsys.readouterr().err


def test_a_wrong_command_line_of_the_benchmark_is_a_one_line_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--data", "images", "--draws", "many"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("driftserve_benchmark: argument --draws: invalid int value: 'many'; ")
