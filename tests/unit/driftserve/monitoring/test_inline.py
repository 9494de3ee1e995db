import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from driftserve.archive.contract import Contract
from driftserve.errors import DeliveryError
from driftserve.logs import JsonFormatter
from driftserve.metrics.definitions import Metric
from driftserve.monitoring.inline import InlineMonitor
from driftserve.monitoring.monitor import Monitor
from driftserve.observations.observation import Observation

DIGEST = "d" * 64


class _Kept:
    """A sink that keeps the metrics of each period, or fails if `is_broken`."""

    name = "kept"

    def __init__(self, is_broken: bool = False) -> None:
        self.periods: list[Sequence[Metric]] = []
        self._is_broken = is_broken

    def emit(self, metrics: Sequence[Metric]) -> None:
        if self._is_broken:
            raise DeliveryError("full", metrics, is_permanent=True)
        self.periods.append(metrics)


def _inline(contract: Contract, *sinks: _Kept) -> InlineMonitor:
    return InlineMonitor(Monitor({DIGEST: contract}.get, "e", "v"), DIGEST, sinks, clock=lambda: 1e9)


def _observations(contract: Contract, number: int, shift: float = 0.0) -> list[Observation]:
    generator = np.random.default_rng(4)
    columns = np.array(list(contract.reference.values()))
    rows = columns[:, generator.integers(columns.shape[1], size=number)].T + shift
    return [Observation(200, {"total": 1.0}, "red", 0.9, tuple(row), str(place)) for place, row in enumerate(rows)]


def _lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return the log lines with observations, in their written form."""
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    return [line for line in lines if "observations" in line]


def test_each_request_is_one_period_and_its_metrics_are_sent_at_once(contract: Contract) -> None:
    sink = _Kept()
    inline = _inline(contract, sink)
    one, two, three = _observations(contract, 3)
    inline.observe((one,))
    inline.observe((two, three))
    images = [metric.values for period in sink.periods for metric in period if metric.name == "Images"]
    assert images == [(1.0,), (2.0,)]


@pytest.mark.parametrize(("shift", "state"), [(0.0, "OK"), (9.0, "DRIFT")])
def test_the_state_is_insufficient_data_until_this_process_has_filled_a_window(
    contract: Contract, caplog: pytest.LogCaptureFixture, shift: float, state: str
) -> None:
    sink = _Kept()
    inline = _inline(contract, sink)
    for observation in _observations(contract, 50, shift):
        inline.observe((observation,))
    assert [line["state"] for line in _lines(caplog)] == ["INSUFFICIENT_DATA"] * 49 + [state]
    drift = [metric.values for period in sink.periods for metric in period if metric.name == "DriftState"]
    assert drift == [(float(state == "DRIFT"),)]


def test_a_failing_sink_does_not_affect_other_sinks(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    sink = _Kept()
    _inline(contract, _Kept(is_broken=True), sink).observe((_observations(contract, 1)[0],))
    assert len(sink.periods) == 1
    assert "kept lost" in caplog.text


def test_observations_are_logged_if_the_monitor_fails(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Monitor):
        def observe(self, _: Any) -> None:
            raise ZeroDivisionError

    inline = InlineMonitor(Broken({DIGEST: contract}.get, "e", "v"), DIGEST, ())
    with pytest.raises(ZeroDivisionError):
        inline.observe((_observations(contract, 1)[0],))
    assert len(_lines(caplog)) == 1


def test_observations_are_logged_at_any_level(contract: Contract, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("driftserve").setLevel(logging.ERROR)
    _inline(contract).observe((_observations(contract, 1)[0],))
    assert len(_lines(caplog)) == 1
