"""Formats the monitor's status and an archive's contract as text for the command line."""

from collections.abc import Mapping
from typing import Any

from driftserve.archive.certificate import Certificate
from driftserve.archive.contract import Contract
from driftserve.text import printable

_HORIZONS = ("windows", "long windows")  # names of the rows of `Certificate.false_alarms`, in their order

_COLUMNS = ("name", "state", "windows", "long_windows", "alarms", "observations", "dropped")
_LONGEST_SILENCE_SECONDS = 5.0
_MOST_TESTS = 5


def table(status: Mapping[str, Any], now: float) -> str:
    """Return the status as text: a table of the models, then lines about overrides, drift and losses.

    Args:
        status: from `read_status`.
        now: seconds since the epoch, for the age of the last windows.
    """
    models: list[dict[str, Any]] = list(status["models"].values())
    rows: list[tuple[str, ...]] = [(*(column.replace("_", " ") for column in _COLUMNS), "calibrated", "window age")]
    rows += [
        (*(str(model[column]) for column in _COLUMNS), _calibrated(model["calibration"]), _age(model, now))
        for model in models
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{model['name']}: {override}" for model in models for override in model["overrides"]]
    lines += [f"{model['name']}: {_drift(report)}" for model in models for report in _drifted(model)]
    lines += [f"lost: {cause.replace('_', ' ')} {number}" for cause, number in status.get("lost", {}).items() if number]
    if (silence := status.get("silent_seconds", 0.0)) > _LONGEST_SILENCE_SECONDS:
        lines.append(f"the monitor has been silent for {silence:.0f} s; this status is old")
    return "\n".join(map(printable, lines))


def _drifted(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the last report on a window and the last on a long window, each only if its verdict is DRIFT."""
    reports = (model["last_report"], model["last_long_report"])
    return [report for report in reports if report and report["verdict"] == "DRIFT"]


def _drift(report: Mapping[str, Any]) -> str:
    """Describe which features drifted in which direction, and the estimated accuracy."""
    moved = ", ".join(
        f"{test['feature']} {test['direction']} (D {test['statistic']:.2f})"
        for test in report["tests"][:_MOST_TESTS]
        if test["is_drift"]
    )
    return (
        f"{report['horizon']} {report['window']} drifted in {', '.join(report['shifts'])}: {moved}; estimated accuracy "
        f"{report['estimated_accuracy']:.3f}, {report['reference_accuracy']:.3f} on the reference"
    )


def _calibrated(calibration: Mapping[str, Any]) -> str:
    """Return whether the windows are judged with the traffic's own dependence, else the progress up to that."""
    return "yes" if calibration["state"] == "CALIBRATED" else f"{calibration['progress']:.0%}"


def _age(model: Mapping[str, Any], now: float) -> str:
    """Return the age of the last full window."""
    report = model["last_report"]
    return f"{max(0.0, now - report['ended_at']):.0f} s" if report else "-"


def describe(contract: Contract, digest: str) -> str:
    """Return an archive's contract as lines of `name  value`, without the reference values."""
    spec = contract.image_spec
    sizes = {len(values) for values in contract.reference.values()}
    facts = {
        "model": contract.display_name,
        "digest": digest,
        "schema": str(contract.schema_version),
        "labels": ", ".join(contract.labels),
        "input": f"{spec.width}x{spec.height}, shorter side {spec.resize_shorter_side}, {spec.interpolation}",
        "temperature": f"{contract.temperature:.4g}",
        "golden images": str(len(contract.golden)),
        "reference": f"{max(sizes)} images, {len(contract.reference)} features",
        "window": f"{contract.drift.window_size} observations",
        "false alarms": f"about 1 in {contract.drift.windows_between_false_alarms} windows without drift",
        **_certificate(contract.certificate),
        **{f"evaluation.{name}": f"{value:.6g}" for name, value in contract.evaluation.items()},
        **{f"provenance.{name}": str(value) for name, value in contract.provenance.items()},
    }
    width = max(map(len, facts))
    return "\n".join(f"{printable(name).ljust(width)}  {printable(value)}" for name, value in facts.items())


def _certificate(certificate: Certificate) -> dict[str, str]:
    """Return the measurements of the drift detector, one line each."""
    lines = {"certificate": f"{certificate.kind}, {certificate.draws} draws; {certificate.source}"}
    for alarms in certificate.false_alarms:
        lines[f"  false alarms, windows of {alarms.size}"] = (
            f"rate {alarms.rate:.5f} (95 % bound {alarms.upper_bound:.5f}, budget {alarms.budget:.5f}, "
            f"worst draw {alarms.worst:.5f}, {alarms.windows} windows per draw)"
        )
    if missing := " and ".join(_HORIZONS[len(certificate.false_alarms) :]):
        lines[f"  false alarms, {missing}"] = (
            f"not measured: {certificate.reference_images} images in each half are too few"
        )
    for cell in certificate.power:
        lines[f"  {cell.corruption} {cell.severity}"] = (
            f"power {_share(cell.power)} for windows, {_share(cell.long_power)} for long windows; "
            f"accuracy {_share(cell.accuracy)}, estimated {_share(cell.estimated_accuracy)}"
        )
    return lines


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
