"""The demo's report: what the run measured, as dataclasses and as the table that it prints at the end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from driftserve_demo.client import Answer
from driftserve_demo.local_aws import MetricsRead

CALM = "calm traffic"
NOISY = "noisy traffic"
OOD = "OOD images"

_NAME_WIDTH = 14  # characters of a line's name, as in `display`


@dataclass(frozen=True)
class DataReport:
    """The data set: the source of the images, the labels, and the number of images in each split."""

    source: str
    is_synthetic: bool
    labels: tuple[str, ...]
    images: dict[str, int]


@dataclass(frozen=True)
class TrainingReport:
    """The training: model, epochs, duration, and the scores on the test images before export."""

    model: str
    epochs: int
    seconds: float
    test_accuracy: float
    test_macro_f1: float


@dataclass(frozen=True)
class ArchiveReport:
    """The archive that was served."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ParityReport:
    """Difference between the served answers and the PyTorch network before export, over all test images.

    `max_abs_diff` is the largest difference of a probability. `argmax_agreement` is the share of images for which both
    predict the same class.
    """

    images: int
    max_abs_diff: float
    argmax_agreement: float


@dataclass(frozen=True)
class ServingReport:
    """All requests of the run, measured at the client.

    `errors` counts the responses whose status is not 200. `accuracy_served` is the accuracy on the test images.
    """

    requests: int
    errors: int
    concurrency: int
    p50_ms: float
    p99_ms: float
    accuracy_served: float


@dataclass(frozen=True)
class DriftPhase:
    """One kind of traffic: the number of its windows, the number of alarms, and the features that drifted.

    `statistics` has a dictionary for each window. It maps each feature to its Kolmogorov-Smirnov D: the largest
    distance between the feature's distribution functions in the window and in the reference, from 0 to 1.
    """

    kind: str
    windows: int
    alarms: int
    features: tuple[str, ...]
    statistics: tuple[dict[str, float], ...]


@dataclass(frozen=True)
class DriftPhases:
    """The phases of the traffic; `ood` is None if there are no out-of-distribution (OOD) images."""

    undrifted: DriftPhase
    corrupted: DriftPhase
    ood: DriftPhase | None


@dataclass(frozen=True)
class Report:
    """The whole run."""

    data: DataReport
    training: TrainingReport
    archive: ArchiveReport
    parity: ParityReport
    serving: ServingReport
    drift: DriftPhases
    cloudwatch: MetricsRead


def to_serving_report(answers: Sequence[Answer], concurrency: int, accuracy: float) -> ServingReport:
    """Return the report on all answers of the run; `accuracy` is that on the test images."""
    milliseconds = [answer.milliseconds for answer in answers]
    return ServingReport(
        requests=len(answers),
        errors=sum(answer.status != 200 for answer in answers),
        concurrency=concurrency,
        p50_ms=round(float(np.percentile(milliseconds, 50)), 2),
        p99_ms=round(float(np.percentile(milliseconds, 99)), 2),
        accuracy_served=accuracy,
    )


def to_table(report: Report) -> str:
    """Return the report as lines of at most 100 characters, unless a path, a model or a feature has a long name."""
    data, training, archive, parity = report.data, report.training, report.archive, report.parity
    serving, drift, cloudwatch = report.serving, report.drift, report.cloudwatch
    rows = [
        ("data", f"{sum(data.images.values()):,} images, {len(data.labels)} classes; {data.source}"),
        ("training", f"{training.model}, {training.epochs} epochs in {training.seconds:.0f} s"),
        (
            "test images",
            f"{parity.images:,}; accuracy {training.test_accuracy:.3f} before export, "
            f"{serving.accuracy_served:.3f} served",
        ),
        (
            "parity",
            f"same class for {parity.argmax_agreement:.1%}; probabilities differ by at most {parity.max_abs_diff:.1e}",
        ),
        ("archive", f"{archive.path}, {archive.bytes / 1e6:.1f} MB, sha256 {archive.sha256[:12]}"),
        (
            "serving",
            f"{serving.requests:,} requests, {serving.errors} errors, {serving.concurrency} at a time; "
            f"p50 {serving.p50_ms:.1f} ms, p99 {serving.p99_ms:.1f} ms",
        ),
        *_drift_rows(CALM, drift.undrifted),
        *_drift_rows(NOISY, drift.corrupted),
        *(_drift_rows(OOD, drift.ood) if drift.ood else []),
        (
            "metrics",
            f"{cloudwatch.datapoints:,} datapoints of {len(cloudwatch.metric_names)} metrics, "
            "read back from the local CloudWatch",
        ),
    ]
    return align(rows)


def align(rows: Iterable[tuple[str, str]]) -> str:
    """Return one line for each pair of a name and a text; all texts start in the same column."""
    return "\n".join(f"{name:<{_NAME_WIDTH}}  {text}" for name, text in rows)


def _drift_rows(name: str, phase: DriftPhase) -> list[tuple[str, str]]:
    alarms = f"{phase.alarms} alarm{'' if phase.alarms == 1 else 's'}"
    windows = f"{phase.windows} window{'' if phase.windows == 1 else 's'}"
    rows = [(name, f"{alarms} in {windows}; {phase.kind}")]
    if phase.features:
        more = ", ..." if len(phase.features) > 4 else ""
        rows.append(("", f"drifted: {', '.join(phase.features[:4])}{more}"))
    return rows
