"""The demo's report: every figure measured in the run, as JSON and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from driftserve_demo.client import Answer
from driftserve_demo.local_aws import MetricsRead


@dataclass(frozen=True)
class DataReport:
    """Which images: where they came from, and how many of each split."""

    source: str
    is_synthetic: bool
    labels: tuple[str, ...]
    images: dict[str, int]


@dataclass(frozen=True)
class TrainingReport:
    """What training took and gave; the test split was scored once, by the eager network."""

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
    """Served answers against the eager network, over every test image."""

    images: int
    max_abs_diff: float
    argmax_agreement: float


@dataclass(frozen=True)
class ServingReport:
    """All requests of the run, seen from the client; accuracy over the test images."""

    requests: int
    errors: int
    concurrency: int
    p50_ms: float
    p99_ms: float
    accuracy_served: float


@dataclass(frozen=True)
class DriftPhase:
    """One kind of traffic: how many windows, in how many of them an alarm, which features moved."""

    kind: str
    windows: int
    alarms: int
    features: tuple[str, ...]
    statistics: tuple[dict[str, float], ...]  # for each window, the Kolmogorov-Smirnov D of each feature


@dataclass(frozen=True)
class DriftPhases:
    """The phases of the traffic; `ood` is None where there are no such images."""

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
    """The figures of all answers."""
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
    """The report for a screen."""
    drift = report.drift
    rows = [
        ("data", f"{report.data.source}: {sum(report.data.images.values())} images, {len(report.data.labels)} classes"),
        (
            "training",
            f"{report.training.model}, {report.training.epochs} epochs, {report.training.seconds:.0f} s: "
            f"test accuracy {report.training.test_accuracy:.3f}, macro F1 {report.training.test_macro_f1:.3f}",
        ),
        ("archive", f"{report.archive.path}, {report.archive.bytes / 1e6:.1f} MB, {report.archive.sha256[:12]}"),
        (
            "served = eager",
            f"max |dp| {report.parity.max_abs_diff:.1e}, same class for {report.parity.argmax_agreement:.1%} "
            f"of {report.parity.images} test images",
        ),
        (
            "serving",
            f"{report.serving.requests} requests, {report.serving.errors} errors, {report.serving.concurrency} at a "
            f"time: p50 {report.serving.p50_ms} ms, p99 {report.serving.p99_ms} ms; "
            f"accuracy {report.serving.accuracy_served:.3f}",
        ),
        *(
            (
                f"drift: {phase.kind}",
                f"{phase.alarms} alarms in {phase.windows} windows {_list_features(phase.features)}",
            )
            for phase in (drift.undrifted, drift.corrupted, drift.ood)
            if phase is not None
        ),
        (
            "cloudwatch",
            f"{report.cloudwatch.datapoints} datapoints of {len(report.cloudwatch.metric_names)} metrics "
            f"in {report.cloudwatch.namespace!r}, read back by GetMetricStatistics",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {text}" for name, text in rows)


def _list_features(features: Sequence[str]) -> str:
    more = ", ..." if len(features) > 4 else ""
    return f"({', '.join(features[:4])}{more})" if features else ""
