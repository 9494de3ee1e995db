import numpy as np
import pytest

from driftserve.contract import Contract
from driftserve.metrics import Metric
from driftserve.monitor import Monitor
from driftserve.observation import Observation, ObservationBatch
from driftserve.report import Verdict

DIGEST = "d" * 64


@pytest.fixture
def monitor(contract: Contract) -> Monitor:
    return Monitor({DIGEST: contract}.get, "my-endpoint", "AllTraffic")


def _calm(contract: Contract, number: int, seed: int = 0) -> list[Observation]:
    """Observations whose features are rows of the reference itself."""
    columns = np.array(list(contract.reference.values()))
    rows = columns[:, np.random.default_rng(seed).permutation(columns.shape[1])[:number]].T
    return [Observation(200, {"decode": 1.0, "total": 9.0}, "red", 0.9, tuple(row)) for row in rows.tolist()]


def _moved(contract: Contract, number: int) -> list[Observation]:
    column = contract.feature_names.index("brightness")
    return [
        Observation(200, {"total": 9.0}, "red", 0.9, tuple(value + 200 * (i == column) for i, value in enumerate(row)))
        for row in ([observation.features or () for observation in _calm(contract, number)])
    ]


def _send(monitor: Monitor, observations: list[Observation], dropped: int = 0) -> None:
    monitor.observe(ObservationBatch(DIGEST, tuple(observations), dropped))


def _by_name(metrics: list[Metric]) -> dict[str, list[Metric]]:
    names: dict[str, list[Metric]] = {}
    for metric in metrics:
        names.setdefault(metric.name, []).append(metric)
    return names


def test_the_verdict_waits_for_the_first_window_then_follows_the_last(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _calm(contract, 49))
    assert monitor.status()["tiny/7"].state is Verdict.INSUFFICIENT_DATA
    _send(monitor, _calm(contract, 1))
    assert monitor.status()["tiny/7"].state is Verdict.OK
    _send(monitor, _moved(contract, 50))
    status = monitor.status()["tiny/7"]
    assert (status.state, status.windows, status.alarms, status.observations) == (Verdict.DRIFT, 2, 1, 100)
    assert status.last_report is not None
    assert status.last_report.drifted_features == ("brightness",)
    _send(monitor, _calm(contract, 50, seed=1))
    assert monitor.status()["tiny/7"].state is Verdict.OK


def test_the_windows_of_all_workers_are_one(monitor: Monitor, contract: Contract) -> None:
    for start in range(0, 50, 10):
        _send(monitor, _calm(contract, 50)[start : start + 10])
    assert monitor.status()["tiny/7"].windows == 1


def test_errors_are_counted_but_fill_no_window(monitor: Monitor) -> None:
    _send(monitor, [Observation(400, {"decode": 0.2, "total": 0.3}) for _ in range(60)])
    metrics = _by_name(monitor.collect(0.0))
    assert metrics["Requests"][0].values == metrics["Errors"][0].values == (60.0,)
    assert "Observations" not in metrics
    assert monitor.status()["tiny/7"].windows == 0


def test_drops_that_a_sender_reports_are_added_up(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _calm(contract, 1), dropped=4)
    _send(monitor, _calm(contract, 1), dropped=3)
    assert monitor.status()["tiny/7"].dropped == 7
    assert _by_name(monitor.collect(0.0))["DroppedObservations"][0].values == (7.0,)


def test_metrics_carry_their_dimensions_and_units(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _moved(contract, 50))
    metrics = _by_name(monitor.collect(123.0))
    common = (("EndpointName", "my-endpoint"), ("VariantName", "AllTraffic"), ("Model", "tiny/7"))
    assert metrics["Requests"][0].dimensions == common
    assert metrics["Latency"][0].dimensions == (*common, ("Phase", "total"))
    assert metrics["Latency"][0].unit == "Milliseconds"
    assert metrics["PredictedClass"][0].dimensions == (*common, ("Class", "red"))
    assert metrics["DriftState"][0].values == (1.0,)
    assert {metric.dimensions[3] for metric in metrics["DriftPValue"]} == {
        ("Feature", name) for name in contract.feature_names
    }
    assert all(metric.timestamp == 123.0 for same in metrics.values() for metric in same)


def test_a_period_starts_empty_but_the_state_is_sent_again(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _calm(contract, 50))
    monitor.collect(0.0)
    assert [metric.name for metric in monitor.collect(60.0)] == ["DriftState"]


def test_equal_values_are_sent_once_with_their_count(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _calm(contract, 30))
    latency = _by_name(monitor.collect(0.0))["Latency"]
    assert [(metric.values, metric.counts) for metric in latency] == [((1.0,), (30,)), ((9.0,), (30,))]


def test_a_model_without_contract_is_not_watched(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    monitor.observe(ObservationBatch("e" * 64, (Observation(200, {}),)))
    assert monitor.status() == {}
    assert "no contract for model eee" in caplog.text


def test_features_that_do_not_fit_the_contract_are_not_watched(
    monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    _send(monitor, [Observation(200, {}, "red", 0.9, (1.0,))])
    assert monitor.status()["tiny/7"].observations == 0
    assert "expected" in caplog.text
