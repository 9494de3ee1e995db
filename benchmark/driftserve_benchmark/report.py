"""The report of the benchmark: a table of measures with targets, and two tables without targets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations

import numpy as np
from tqdm import tqdm

from driftserve.archive.contract import WINDOWS_IN_LONG, Contract
from driftserve.certification.corruption.imagenet_c import CORRUPTIONS
from driftserve.certification.measurement import FULL, false_alarms
from driftserve.certification.population import Cell, Draw
from driftserve.errors import DataError
from driftserve_benchmark import measures, sessions
from driftserve_benchmark.cells import Images
from driftserve_benchmark.detectors import Detector, e_process, log_capital, nominal_threshold, two_horizons
from driftserve_benchmark.table import Row, rows_to_table, to_table

_RUN_WINDOWS = 100  # windows in a calm run
_SENDERS = (1, 4, 16)  # numbers of senders that are compared
_SESSIONS = (2.0, 5.0, 10.0, 20.0)  # mean numbers of images in a session
_SEEN_IN = ("gaussian_noise", "defocus_blur", "brightness", "contrast", "jpeg_compression")  # corruptions in sessions
_VARIATIONS = (0.05, 0.1, 0.2, 0.3)  # total variation distances of changed mixes
_SHARES = (1.0, 0.5, 0.2, 0.1)  # shares of corrupted images in sessions
_MOST_WINDOWS = 25  # after which a corruption counts as not seen
_SENT_OOD_SHARE = 0.2  # share of OOD images in what the senders send


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    `draws` counts random halves of the images, `windows` the calm windows in each half, `runs` the runs of 100 calm
    windows, `power_windows` the windows for each corruption, severity and half, `workers` the processes. Of sessions,
    `session_windows` calm windows are tested in each of `session_draws` halves; if that is 0, they are not measured.
    """

    draws: int
    windows: int
    runs: int
    power_windows: int
    workers: int = 1
    session_draws: int = 5
    session_windows: int = 150


@dataclass(frozen=True)
class Report:
    """The measures with their targets, and tables: power by corruption, the e-process, sessions."""

    rows: tuple[Row, ...]
    corruptions: str
    sequential: str
    sessions: str

    @property
    def is_met(self) -> bool:
        """Whether every target is met."""
        return all(row.is_met for row in self.rows if row.is_met is not None)

    def to_markdown(self) -> str:
        """Return the tables."""
        return "\n\n".join([rows_to_table(self.rows), self.corruptions, self.sequential, self.sessions])


def measure(images: Images, contract: Contract, extent: Extent) -> Report:
    """Measure the detector of a contract on scored images.

    Raises:
        DataError: half of the images are too few for a long window.
    """
    least = 2 * contract.drift.window_size * WINDOWS_IN_LONG
    if len(images.population.clean) < least:
        raise DataError(
            f"expected at least {least} images in val/ and stream/ together, twice a long window, "
            f"got {len(images.population.clean)}"
        )
    draws = images.population.halves(extent.draws, seed=0)
    share = _alarm_share(images, contract, extent)
    calm = list(_calm(images, draws, contract, extent, share))
    power = _Power(images, draws, contract, extent.power_windows)
    others = [
        *_mixtures(images, draws, contract, extent.power_windows),
        *_senders(images, draws, contract),
        *_harm(images, draws),
        *_changed_mixes(images, draws, contract),
    ]
    sequential = _sequential(images, draws, contract, extent, share)
    if extent.session_draws == 0:
        return Report((*calm, *power.rows(), *others), power.table(), sequential, "sessions: not measured")
    in_sessions = _Sessions(images, draws[: extent.session_draws], contract, extent.session_windows)
    rows = (*calm, *power.rows(), *others, *in_sessions.rows())
    return Report(rows, power.table(), sequential, in_sessions.table())


def _calm(images: Images, draws: Sequence[Draw], contract: Contract, extent: Extent, share: float) -> Iterator[Row]:
    population, policy, half = images.population, contract.drift, len(images.population.clean) // 2
    long_size = policy.window_size * WINDOWS_IN_LONG
    progress = tqdm(draws, desc="calm windows")
    real = false_alarms(population, progress, policy.window_size, policy.level, extent.windows)
    synthetic = measures.calm_synthetic(
        population, half, extent.draws, long_size, policy.long_level, extent.windows, 1, extent.workers
    )
    for name, alarms in (("real images", real), ("synthetic features", synthetic)):
        text = f"{alarms.rate:.5f}, bound {alarms.upper_bound:.5f}, worst draw {alarms.worst:.5f}"
        target = f"bound <= {1.5 * alarms.budget:.5f}, worst <= {5 * alarms.budget:.5f}"
        is_met = alarms.upper_bound <= 1.5 * alarms.budget and alarms.worst <= 5 * alarms.budget
        yield Row(f"calm windows of {alarms.size}, {name}", text, target, is_met)
    measure = f"any alarm in {_RUN_WINDOWS} calm windows, {extent.runs} runs of synthetic features"
    yield Row(measure, f"{share:.3f}", "<= 0.12", share <= 0.12)


class _Power:
    """The power on corruptions of severities 1 and 3: of the product, and of tests of the class probabilities alone."""

    def __init__(self, images: Images, draws: Sequence[Draw], contract: Contract, windows: int) -> None:
        policy, corrupted = contract.drift, images.population.corrupted
        self._size, self._long_size = policy.window_size, policy.window_size * WINDOWS_IN_LONG
        self._window: dict[Cell, float] = {}
        self._long: dict[Cell, float] = {}
        self._softmax: dict[Cell, float] = {}
        for cell in tqdm([cell for cell in FULL.cells if cell[1] in (1, 3)], desc="power"):
            window = measures.windows_of(corrupted[cell], self._size)
            self._window[cell] = measures.power(draws, window, policy.level, windows)
            if cell[1] == 1:
                long_window = measures.windows_of(corrupted[cell], self._long_size)
                self._long[cell] = measures.power(draws, long_window, policy.long_level, windows)
                self._softmax[cell] = measures.softmax_power(images.population, draws, window, policy.level, windows)

    def rows(self) -> Iterator[Row]:
        seen = sum(self._window[name, 3] >= 0.95 for name in CORRUPTIONS)
        mild = float(np.mean([self._window[name, 1] for name in CORRUPTIONS]))
        mild_long, softmax = (float(np.mean(list(powers.values()))) for powers in (self._long, self._softmax))
        better = mild - softmax
        yield Row("severity 3 seen with power >= 0.95", f"{seen} of {len(CORRUPTIONS)}", ">= 14", seen >= 14)
        yield Row(f"severity 1 in {self._size}, mean power", f"{mild:.3f}", ">= 0.6", mild >= 0.6)
        yield Row(f"severity 1 in {self._long_size}, mean power", f"{mild_long:.3f}", ">= 0.9", mild_long >= 0.9)
        text = f"{softmax:.3f}, {100 * better:.0f} points less"
        yield Row(f"severity 1 in {self._size}, softmax only", text, ">= 25 less", better >= 0.25)

    def table(self) -> str:
        columns = [
            "corruption",
            f"severity 3 in {self._size}",
            f"severity 1 in {self._size}",
            "the same, softmax only",
            f"severity 1 in {self._long_size}",
        ]
        powers = [
            (name, self._window[name, 3], self._window[name, 1], self._softmax[name, 1], self._long[name, 1])
            for name in CORRUPTIONS
        ]
        return to_table(columns, [(name, *(f"{power:.2f}" for power in row)) for name, *row in powers])


def _mixtures(images: Images, draws: Sequence[Draw], contract: Contract, windows: int) -> Iterator[Row]:
    population, policy = images.population, contract.drift
    size, level = policy.window_size * WINDOWS_IN_LONG, policy.long_level
    removed = [
        measures.power(draws, measures.without_class(population, images.targets, label, size), level, windows)
        for label in range(len(contract.labels))
    ]
    text, mean = f"{np.mean(removed):.3f} / {min(removed):.3f}", float(np.mean(removed))
    yield Row(f"one class removed, in {size} or all the others, mean / least", text, ">= 0.95", mean >= 0.95)
    for share, least in ((0.1, None), (0.2, 0.8)):
        measure, target = f"{share:.0%} OOD images, in {size}", "reported" if least is None else f">= {least}"
        if len(images.ood_rows) < share * size:
            yield Row(measure, f"not measured: {len(images.ood_rows)} OOD images are too few", target)
            continue
        window = measures.with_ood_images(population, images.ood_rows, share, size)
        seen = measures.power(draws, window, level, windows)
        yield Row(measure, f"{seen:.3f}", target, None if least is None else seen >= least)


def _senders(images: Images, draws: Sequence[Draw], contract: Contract) -> Iterator[Row]:
    """Yield a row with the number of observations up to the alarm, for several numbers of senders.

    The drift is mild, so that the alarm takes several windows: strong drift raises it in the first window anyway.
    """
    population, size = images.population, contract.drift.window_size * WINDOWS_IN_LONG
    if len(images.ood_rows) >= _SENT_OOD_SHARE * size:
        kind = f"{_SENT_OOD_SHARE:.0%} OOD images"
        window = measures.with_ood_images(population, images.ood_rows, _SENT_OOD_SHARE, size)
    else:
        kind = f"without {contract.labels[0]}"
        window = measures.without_class(population, images.targets, 0, size)
    observations_to_alarm: dict[int, list[int]] = {senders: [] for senders in _SENDERS}
    for seed, draw in enumerate(draws):
        reference, stream = population.clean[draw.reference_indices], measures.stream_of(draw, window)
        for senders, numbers in observations_to_alarm.items():
            numbers.append(measures.traffic_to_alarm(contract, reference, stream, senders, seed))
    means = [np.mean(numbers) for numbers in observations_to_alarm.values()]
    measure = f"observations to the alarm, {' / '.join(map(str, _SENDERS))} senders, {kind}"
    is_met = bool(max(means) <= 1.2 * min(means))
    yield Row(measure, " / ".join(f"{mean:.0f}" for mean in means), "within 20 %", is_met)


def _harm(images: Images, draws: Sequence[Draw]) -> Iterator[Row]:
    harm = measures.harm(images.population, images.targets, draws)
    cells = len(images.population.corrupted)
    area = "not measured" if harm.auc is None else f"{harm.auc:.3f}"
    text, is_met = f"AUC {area}, mean error {harm.mean_error:.3f}", None if harm.auc is None else harm.auc >= 0.9
    yield Row(f"estimated drop tells harm, {harm.harmful} of {cells} harmful", text, "AUC >= 0.9", is_met)


def _changed_mixes(images: Images, draws: Sequence[Draw], contract: Contract) -> Iterator[Row]:
    """Yield rows that say how often a long window with a changed mix of classes names each shift, one window a draw."""
    population, brighter = images.population, images.population.corrupted["brightness", 1]
    alone: list[set[str]] = []
    both: list[set[str]] = []
    for variation in _VARIATIONS:
        for found, share in ((alone, 0.0), (both, 0.2)):
            found += sessions.shifts_of_changed_mixes(
                population, images.targets, draws, contract.drift, variation, share, brighter
            )
    names = "total variation " + ", ".join(map(str, _VARIATIONS))
    named = np.mean(["input" in shifts for shifts in alone])
    text = f"{sum('input' in shifts for shifts in alone)} of {len(alone)}"
    yield Row(f"changed mix alone, {names}: input named", text, "<= 0.01", bool(named <= 0.01))
    named = np.mean(["input" in shifts for shifts in both])
    text = f"{sum('input' in shifts for shifts in both)} of {len(both)}"
    yield Row("the same with 20% of the images brighter: input named", text, ">= 0.85", bool(named >= 0.85))


class _Sessions:
    """Alarms and power on calm and corrupted traffic in sessions, after a calibration on 10,000 observations."""

    def __init__(self, images: Images, draws: Sequence[Draw], contract: Contract, windows: int) -> None:
        population, policy = images.population, contract.drift
        embedding = [column for column, name in enumerate(population.names) if name.startswith("embedding.")]
        likenesses = [
            sessions.Likeness("class", np.eye(len(contract.labels))[images.targets]),
            sessions.Likeness("look", images.looks),
            sessions.Likeness("embedding", population.clean[:, embedding]),
        ]
        kinds = [(sessions.INDEPENDENT, 1.0), *((one, length) for one in likenesses for length in _SESSIONS)]
        effects = {
            kind: sessions.calibrate(population, draws, policy, *kind) for kind in tqdm(kinds, desc="calibration")
        }
        self._calm = {
            kind: sessions.calm(population, draws, policy, effects[kind], kind, windows)
            for kind in tqdm(kinds, desc="calm sessions")
        }
        longest = [(likeness, _SESSIONS[-1]) for likeness in likenesses]
        self._other = {
            (one, other): sessions.calm(population, draws, policy, effects[one], other, windows)
            for one, other in tqdm(list(permutations(longest, 2)), desc="other sessions")
        }
        self._delays = {
            (kind[0].name, name, share): sessions.observations_to_alarm(
                *(population, draws, policy, effects[kind], kind),
                *(population.corrupted[name, 1], share, _MOST_WINDOWS),
            )
            for kind in tqdm((kinds[0], *longest), desc="corrupted sessions")
            for name in _SEEN_IN
            for share in _SHARES
        }

    def rows(self) -> Iterator[Row]:
        measured = (
            ("calibrated on them", 0.005, list(self._calm.values())),
            ("calibrated on another kind", 0.02, list(self._other.values())),
        )
        for name, most, found in measured:
            rates = [rate for one in found for rate in (one.alarms / one.windows, one.long_alarms / one.long_windows)]
            text = f"worst of {len(rates)}: {max(rates):.4f}"
            yield Row(f"calm windows in sessions, {name}", text, f"<= {most}", max(rates) <= most)

    def table(self) -> str:
        calm = to_table(
            ("calm sessions", "mean length", "alarms in windows", "in long windows"),
            [
                (
                    *(likeness.name, f"{length:.0f}"),
                    f"{found.alarms} of {found.windows}",
                    f"{found.long_alarms} of {found.long_windows}",
                )
                for (likeness, length), found in self._calm.items()
            ],
        )
        delays = to_table(
            ("observations to the alarm, median", *(f"{share:.0%} corrupted" for share in _SHARES)),
            [
                (f"{kind}, {name}", *(_median(self._delays[kind, name, share]) for share in _SHARES))
                for kind in dict.fromkeys(kind for kind, _, _ in self._delays)
                for name in _SEEN_IN
            ],
        )
        return f"{calm}\n\n{delays}"


def _median(numbers: Sequence[int | None]) -> str:
    """Return the median; a number that is None is larger than all others."""
    median = sorted(numbers, key=lambda number: np.inf if number is None else number)[len(numbers) // 2]
    return "not seen" if median is None else str(median)


def _sequential(images: Images, draws: Sequence[Draw], contract: Contract, extent: Extent, share: float) -> str:
    """Return the table that compares the e-process with the product, for two thresholds of the e-process.

    At the first threshold it has the same budget of false alarms, at the second one the same measured share of them.
    """
    policy = contract.drift
    runs = tqdm(_calm_runs(images, contract, extent), total=extent.runs, desc="e-process, calm")
    peaks = [float(log_capital(run.rows, run.reference).max()) for run in runs]
    thresholds = (nominal_threshold(policy), measures.threshold_for(peaks, share))
    detectors: list[Detector] = [two_horizons]
    detectors += [partial(e_process, threshold=threshold) for threshold in thresholds]
    calm = (share, *(np.mean(np.array(peaks) >= threshold) for threshold in thresholds))
    rows = [(f"any alarm in {_RUN_WINDOWS} calm windows", *(f"{one:.3f}" for one in calm))]
    for kind, windows in tqdm(_kinds(images, contract).items(), desc="e-process"):
        means = np.mean([measures.delays(draws, window, policy, detectors) for window in windows], axis=0)
        rows.append((f"observations to the alarm: {kind}", *(f"{mean:.0f}" for mean in means)))
    return to_table(("", "two horizons", "e-process, at the same budget", "e-process, at the same false alarms"), rows)


def _kinds(images: Images, contract: Contract) -> dict[str, list[measures.Window]]:
    """Return the kinds of drift on which the detectors are compared, each with functions that draw its windows."""
    population, size = images.population, contract.drift.window_size * WINDOWS_IN_LONG
    labels = range(len(contract.labels))
    kinds = {
        "severity 1, mean of 15": [measures.windows_of(population.corrupted[name, 1], size) for name in CORRUPTIONS],
        "one class removed": [measures.without_class(population, images.targets, label, size) for label in labels],
    }
    for share in (0.2, 0.1):
        if len(images.ood_rows) >= share * size:
            kinds[f"{share:.0%} OOD images"] = [measures.with_ood_images(population, images.ood_rows, share, size)]
    return kinds


def _calm_runs(images: Images, contract: Contract, extent: Extent) -> Iterator[measures.CalmRun]:
    half = len(images.population.clean) // 2
    return measures.calm_runs(images.population, half, contract.drift, extent.runs, _RUN_WINDOWS, seed=2)


def _alarm_share(images: Images, contract: Contract, extent: Extent) -> float:
    """Return the share of calm runs in which the product, with its two window lengths, raises an alarm."""
    runs = _calm_runs(images, contract, extent)
    return float(np.mean([two_horizons(run.rows, run.reference, contract.drift) is not None for run in runs]))
