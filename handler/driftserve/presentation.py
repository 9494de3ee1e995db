"""What the command line shows people: the status as a table, an archive as a page."""

from collections.abc import Mapping
from typing import Any

from driftserve.archive.certificate import Certificate
from driftserve.archive.contract import Contract
from driftserve.text import printable

_HORIZONS = ("windows", "long windows")  # in the order of a certificate

_COLUMNS = ("name", "state", "windows", "long_windows", "alarms", "observations", "dropped")
_LONGEST_SILENCE_SECONDS = 5.0
_MOST_TESTS = 5


def table(status: Mapping[str, Any], now: float) -> str:
    """The status as text: a line for each model, and what is to be known about it.

    Args:
        status: as `read_status` gives it.
        now: seconds since the epoch, for the age of the last windows.
    """
    models: list[dict[str, Any]] = list(status["models"].values())
    rows: list[tuple[str, ...]] = [(*(column.replace("_", " ") for column in _COLUMNS), "window age")]
    rows += [(*(str(model[column]) for column in _COLUMNS), _age(model, now)) for model in models]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{model['name']}: {override}" for model in models for override in model["overrides"]]
    lines += [f"{model['name']}: {_drift(report)}" for model in models for report in _drifted(model)]
    lines += [f"lost: {cause.replace('_', ' ')} {number}" for cause, number in status.get("lost", {}).items() if number]
    if (silence := status.get("silent_seconds", 0.0)) > _LONGEST_SILENCE_SECONDS:
        lines.append(f"the monitor has been silent for {silence:.0f} s: this is what it knew then")
    return "\n".join(lines)


def _drifted(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The last reports that say DRIFT, of the window and of the long window."""
    reports = (model["last_report"], model["last_long_report"])
    return [report for report in reports if report and report["verdict"] == "DRIFT"]


def _drift(report: Mapping[str, Any]) -> str:
    """What moved where, and what it may cost."""
    moved = ", ".join(
        f"{test['feature']} {test['direction']} (D {test['statistic']:.2f})"
        for test in report["tests"][:_MOST_TESTS]
        if test["is_drift"]
    )
    return (
        f"{report['horizon']} {report['window']} drifted in {', '.join(report['shifts'])}: {moved}; accuracy estimated "
        f"at {report['estimated_accuracy']:.3f}, {report['reference_accuracy']:.3f} on the reference"
    )


def _age(model: Mapping[str, Any], now: float) -> str:
    """How long ago the last window was full."""
    report = model["last_report"]
    return f"{max(0.0, now - report['ended_at']):.0f} s" if report else "-"


def describe(contract: Contract, digest: str) -> str:
    """What an archive promises, without its reference values, as lines of `what  value`."""
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
        "false alarms": f"nominally 1 in {contract.drift.windows_between_false_alarms} windows without drift",
        **_certificate(contract.certificate),
        **{f"evaluation.{name}": f"{value:.6g}" for name, value in contract.evaluation.items()},
        **{f"provenance.{name}": str(value) for name, value in contract.provenance.items()},
    }
    width = max(map(len, facts))
    return "\n".join(f"{printable(name).ljust(width)}  {printable(value)}" for name, value in facts.items())


def _certificate(certificate: Certificate) -> dict[str, str]:
    """What was measured of the detector, a line each."""
    lines = {"certificate": f"{certificate.kind}, {certificate.draws} draws; {certificate.source}"}
    for alarms in certificate.false_alarms:
        lines[f"  calm windows of {alarms.size}"] = (
            f"{alarms.rate:.5f} alarm (95 % bound {alarms.upper_bound:.5f}, budget {alarms.budget:.5f}, "
            f"worst draw {alarms.worst:.5f}, {alarms.windows} windows a draw)"
        )
    if missing := " and ".join(_HORIZONS[len(certificate.false_alarms) :]):
        lines[f"  calm {missing}"] = (
            f"not measured: {certificate.reference_images} images a half leave too little choice for one"
        )
    for cell in certificate.power:
        lines[f"  {cell.corruption} {cell.severity}"] = (
            f"seen in a window {_share(cell.power)}, in a long one {_share(cell.long_power)}; "
            f"accuracy {_share(cell.accuracy)}, estimated {_share(cell.estimated_accuracy)}"
        )
    return lines


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
