"""The measures of the benchmark, one function for each. They call the production code."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from driftserve.archive.certificate import FalseAlarms
from driftserve.archive.contract import Contract, DriftPolicy
from driftserve.certification.measurement import to_false_alarms
from driftserve.certification.population import Draw, Population, Rows
from driftserve.drift.detection import is_drift, p_values_of
from driftserve.drift.features import count_labels
from driftserve.drift.reference import Reference, estimate_accuracy, mean_confidence, to_reference
from driftserve.drift.report import Verdict
from driftserve.drift.window import count_rows
from driftserve.errors import MonitorError
from driftserve.monitoring.monitor import Monitor
from driftserve.observations.channel import SOCKET_FILE, Receiver, Sender
from driftserve.observations.observation import Observation, batch_from_bytes
from driftserve_benchmark.detectors import Detector
from driftserve_benchmark.synthetic import SyntheticFeatures

# Draws a window: takes the indices of the traffic's images, and returns feature rows.
Window = Callable[[npt.NDArray[np.int64], np.random.Generator], Rows]

HARM = 0.05  # loss of accuracy above which a corruption is harmful
_STREAM_WINDOWS = 3  # number of windows in a stream


def calm_synthetic(
    population: Population,
    reference_size: int,
    draws: int,
    size: int,
    level: float,
    windows: int,
    seed: int,
    workers: int = 1,
) -> FalseAlarms:
    """Measure the false alarms on windows of synthetic features; each draw has a new reference."""
    measure_rate = partial(_synthetic_rate, population, reference_size, size, level, windows)
    with ProcessPoolExecutor(workers) as pool:
        rates = list(
            tqdm(pool.map(measure_rate, [(seed, draw) for draw in range(draws)]), total=draws, desc="synthetic windows")
        )
    return to_false_alarms(np.array(rates), size, level, windows)


def _synthetic_rate(
    population: Population, reference_size: int, size: int, level: float, windows: int, seed: tuple[int, int]
) -> float:
    features, generator = SyntheticFeatures(population.clean), np.random.default_rng(seed)
    reference = to_reference(population.names, features.draw(reference_size, generator))
    return (
        sum(is_drift(count_rows(features.draw(size, generator), reference), reference, level) for _ in range(windows))
        / windows
    )


@dataclass(frozen=True)
class CalmRun:
    """A run of consecutive calm windows of synthetic features, with its own reference."""

    rows: Rows
    reference: Reference


def calm_runs(
    population: Population, reference_size: int, policy: DriftPolicy, runs: int, windows: int, seed: int
) -> Iterator[CalmRun]:
    """Yield the calm runs, each with its own seed."""
    features = SyntheticFeatures(population.clean)
    for run in range(runs):
        generator = np.random.default_rng((seed, run))
        reference = to_reference(population.names, features.draw(reference_size, generator))
        yield CalmRun(features.draw(windows * policy.window_size, generator), reference)


def threshold_for(peaks: Sequence[float], share: float) -> float:
    """Return the threshold that this share of the peaks reaches or exceeds.

    >>> threshold_for([1.0, 4.0, 3.0, 2.0], 0.5), threshold_for([1.0, 2.0], 0.0) > 2.0
    (3.0, True)
    """
    highest = sorted(peaks, reverse=True)
    number = round(share * len(peaks))
    return highest[number - 1] if number else float(np.nextafter(highest[0], np.inf))


def delays(draws: Sequence[Draw], window: Window, policy: DriftPolicy, detectors: Sequence[Detector]) -> list[float]:
    """Return for each detector the mean number of observations up to its alarm, on the same streams.

    A stream without an alarm counts with its full length.
    """
    numbers = []
    for draw in draws:
        rows = stream_of(draw, window)
        numbers.append([detector(rows, draw.reference, policy) or len(rows) for detector in detectors])
    return [float(mean) for mean in np.mean(numbers, axis=0)]


def stream_of(draw: Draw, window: Window) -> Rows:
    """Return a stream: windows of a draw's traffic one after the other, each in random order."""
    return np.concatenate(
        [draw.generator.permutation(window(draw.traffic, draw.generator)) for _ in range(_STREAM_WINDOWS)]
    )


def power(draws: Sequence[Draw], window: Window, level: float, windows: int) -> float:
    """Return the share of windows of the draws' traffic that raise an alarm."""
    return float(
        np.mean(
            [
                is_drift(count_rows(window(draw.traffic, draw.generator), draw.reference), draw.reference, level)
                for draw in draws
                for _ in range(windows)
            ]
        )
    )


def softmax_power(population: Population, draws: Sequence[Draw], window: Window, level: float, windows: int) -> float:
    """Return the power of Kolmogorov-Smirnov tests of the class probabilities alone, with Bonferroni's correction."""
    labels = count_labels(population.names)
    alarms = []
    for draw in draws:
        reference = to_reference(population.names[:labels], population.clean[draw.reference_indices, :labels])
        for _ in range(windows):
            rows = window(draw.traffic, draw.generator)[:, :labels]
            alarms.append(p_values_of(count_rows(rows, reference), reference)[:-1].min() <= level / labels)
    return float(np.mean(alarms))


def windows_of(rows: Rows, size: int) -> Window:
    """Return a function that draws windows of a size from the rows of the traffic."""
    return lambda traffic, generator: rows[generator.choice(traffic, size, replace=False)]


def without_class(population: Population, targets: npt.NDArray[np.int64], label: int, size: int) -> Window:
    """Return a function that draws windows without the images of one class.

    If there are fewer than `size` other images, a window has all of them. `targets`, (N,), are the indices of the true
    labels of the N images.
    """

    def window(traffic: npt.NDArray[np.int64], generator: np.random.Generator) -> Rows:
        others = traffic[targets[traffic] != label]
        return population.clean[generator.choice(others, min(size, len(others)), replace=False)]

    return window


def with_ood_images(population: Population, ood_rows: Rows, share: float, size: int) -> Window:
    """Return a function that draws windows with a share of out-of-distribution (OOD) images."""
    number = round(share * size)

    def window(traffic: npt.NDArray[np.int64], generator: np.random.Generator) -> Rows:
        own = population.clean[generator.choice(traffic, size - number, replace=False)]
        return np.concatenate([own, ood_rows[generator.choice(len(ood_rows), number, replace=False)]])

    return window


@dataclass(frozen=True)
class Harm:
    """How well the estimated loss of accuracy separates harmful corruptions from harmless ones.

    `auc` is the area under the ROC curve, or None if all corruptions are harmful or none is. `mean_error` is the mean
    absolute error of the estimate. `harmful` counts the harmful corruptions.
    """

    auc: float | None
    mean_error: float
    harmful: int


def harm(population: Population, targets: npt.NDArray[np.int64], draws: Sequence[Draw]) -> Harm:
    """Compare the loss of accuracy estimated from the confidence with the true loss, over all corruptions."""
    labels = count_labels(population.names)
    is_right = population.clean[:, :labels].argmax(axis=1) == targets
    drops, estimates = [], []
    for rows in population.corrupted.values():
        drops.append(is_right.mean() - (rows[:, :labels].argmax(axis=1) == targets).mean())
        estimated_drops = []
        for draw in draws:
            expected = float(is_right[draw.reference_indices].mean())
            confidence = mean_confidence(rows[draw.traffic], labels)
            estimated_drops.append(expected - estimate_accuracy(confidence, draw.reference, expected))
        estimates.append(np.mean(estimated_drops))
    true, estimated = np.array(drops), np.array(estimates)
    is_harmful = true > HARM
    above = estimated[is_harmful][:, None] - estimated[~is_harmful]
    return Harm(
        auc=float((above > 0).mean() + (above == 0).mean() / 2) if above.size else None,
        mean_error=float(np.abs(true - estimated).mean()),
        harmful=int(is_harmful.sum()),
    )


def traffic_to_alarm(contract: Contract, reference: Rows, stream: Rows, senders: int, seed: int) -> int:
    """Return how many observations the monitor needs for its first alarm; the stream's length if there is no alarm.

    The senders share one real socket. Each sender has a part of the stream, and the next sender is chosen at random. So
    the monitor gets the whole stream, slightly out of order.
    """
    columns = map(tuple, reference.T.tolist())
    watched = contract.model_copy(update={"reference": dict(zip(contract.feature_names, columns, strict=True))})
    digest = "0" * 64
    monitor = Monitor({digest: watched}.get, "benchmark", "benchmark")
    sender_order = np.random.default_rng((seed, senders)).permutation(np.arange(len(stream)) % senders)
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder, SOCKET_FILE)
        receiver = Receiver(socket)
        parts = [(Sender(socket, digest), iter(stream[sender::senders].tolist())) for sender in range(senders)]
        try:
            for number, sender_number in enumerate(sender_order, start=1):
                sender, part = parts[sender_number]
                sender.send((Observation(200, {}, features=tuple(next(part))),))
                datagram = receiver.receive(1.0)
                if datagram is None:
                    raise MonitorError("expected the datagram that was sent, got none within 1 s")
                reports = monitor.observe(batch_from_bytes(datagram)) or ()
                if any(report.verdict is Verdict.DRIFT for report in reports):
                    return number
        finally:
            for sender, _ in parts:
                sender.close()
            receiver.close()
    return len(stream)
