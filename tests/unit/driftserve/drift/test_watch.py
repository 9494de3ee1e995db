import pytest

from driftserve.archive.contract import Contract
from driftserve.drift.overrides import DriftOverrides
from driftserve.drift.report import Verdict
from driftserve.drift.watch import DriftWatch
from driftserve.settings import LabelShift


def _of_one_label(contract: Contract, number: int) -> list[tuple[float, ...]]:
    """Return calm rows of the images for which the reference predicts the first label."""
    labels = len(contract.labels)
    return [row for row in zip(*contract.reference.values(), strict=True) if row.index(max(row[:labels])) == 0][:number]


@pytest.mark.parametrize(("label_shift", "verdict"), [(None, Verdict.DRIFT), ("report", Verdict.OK)])
def test_the_operator_chooses_whether_a_label_shift_alone_is_an_alarm(
    contract: Contract, label_shift: LabelShift | None, verdict: Verdict
) -> None:
    watch = DriftWatch(contract, DriftOverrides(label_shift=label_shift))
    rows = _of_one_label(contract, watch.window_size)
    (report,) = (report for row in rows for report in watch.add(row, None, 0.0))
    assert (report.verdict, report.shifts) == (verdict, ("label",))
    assert bool(report.overrides) == (label_shift == "report")


def test_a_shift_of_the_images_is_an_alarm_although_label_shifts_are_only_reported(contract: Contract) -> None:
    watch = DriftWatch(contract, DriftOverrides(label_shift="report"))
    brightness = contract.feature_names.index("brightness")
    rows = [(*row[:brightness], row[brightness] + 90, *row[brightness + 1 :]) for row in _of_one_label(contract, 50)]
    (report,) = (report for row in rows for report in watch.add(row, None, 0.0))
    assert report.verdict is Verdict.DRIFT
    assert set(report.shifts) == {"label", "input"}
