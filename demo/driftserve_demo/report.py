"""The demo's report: every figure measured in the run, as JSON and as a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from driftserve_demo.client import Answer
from driftserve_demo.local_aws import MetricsRead

CALM = "calm traffic"
NOISY = "noisy traffic"
FOREIGN = "foreign images"


@dataclass(frozen=True)
class DataReport:
    """The images: their source, and how many each split has."""

    source: str
    is_synthetic: bool
    labels: tuple[str, ...]
    images: dict[str, int]


@dataclass(frozen=True)
class TrainingReport:
    """Cost and result of the training; the eager network scored the test split once."""

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
    """Difference between the served answers and the eager network, over all test images."""

    images: int
    max_abs_diff: float
    argmax_agreement: float


@dataclass(frozen=True)
class ServingReport:
    """All requests of the run, measured at the client; the accuracy is that on the test images."""

    requests: int
    errors: int
    concurrency: int
    p50_ms: float
    p99_ms: float
    accuracy_served: float


@dataclass(frozen=True)
class DriftPhase:
    """One kind of traffic: its windows, the windows with an alarm, the features that drifted."""

    kind: str
    windows: int
    alarms: int
    features: tuple[str, ...]
    statistics: tuple[dict[str, float], ...]  # for each window, the Kolmogorov-Smirnov D of each feature


@dataclass(frozen=True)
class DriftPhases:
    """The phases of the traffic; `ood` is None if there are no such images."""

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
    """Compute the figures of all answers."""
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
    """Return the report as lines of at most 100 characters, unless a path is long."""
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
        *(_drift_rows(FOREIGN, drift.ood) if drift.ood else []),
        (
            "metrics",
            f"{cloudwatch.datapoints:,} datapoints of {len(cloudwatch.metric_names)} metrics, "
            "read back from the local CloudWatch",
        ),
    ]
    return align(rows)


def align(rows: Iterable[tuple[str, str]]) -> str:
    """Return a line for each name and its text, the texts below each other."""
    return "\n".join(f"{name:<{len(FOREIGN)}}  {text}" for name, text in rows)


def _drift_rows(name: str, phase: DriftPhase) -> list[tuple[str, str]]:
    alarms = f"{phase.alarms} alarm{'' if phase.alarms == 1 else 's'}"
    windows = f"{phase.windows} window{'' if phase.windows == 1 else 's'}"
    rows = [(name, f"{alarms} in {windows}; {phase.kind}")]
    if phase.features:
        more = ", ..." if len(phase.features) > 4 else ""
        rows.append(("", f"drifted: {', '.join(phase.features[:4])}{more}"))
    return rows
