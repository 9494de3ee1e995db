import dataclasses

import numpy as np
import pytest

from driftserve.archive.contract import Contract
from driftserve.drift.overrides import DriftOverrides
from driftserve.drift.report import Verdict
from driftserve.drift.watch import Progress
from driftserve.metrics.definitions import Metric
from driftserve.monitoring.monitor import Monitor
from driftserve.observations.observation import Observation, ObservationBatch

DIGEST = "d" * 64


@pytest.fixture
def monitor(contract: Contract) -> Monitor:
    return Monitor({DIGEST: contract}.get, "my-endpoint", "AllTraffic")


def _calm(contract: Contract, number: int, seed: int = 0) -> list[Observation]:
    """Return observations without drift: their features are rows of the reference."""
    columns = np.array(list(contract.reference.values()))
    rows = columns[:, np.random.default_rng(seed).permutation(columns.shape[1])[:number]].T
    return [Observation(200, {"decode": 1.0, "total": 9.0}, "red", 0.9, tuple(row)) for row in rows.tolist()]


def _moved(contract: Contract, number: int) -> list[Observation]:
    column = contract.feature_names.index("brightness")
    return [
        Observation(200, {"total": 9.0}, "red", 0.9, tuple(value + 200 * (i == column) for i, value in enumerate(row)))
        for row in ([observation.features or () for observation in _calm(contract, number)])
    ]


def _send(monitor: Monitor, observations: list[Observation], dropped: int = 0, answered_at: float = 0.0) -> None:
    monitor.observe(ObservationBatch(DIGEST, answered_at, tuple(observations), dropped))


def _by_name(metrics: list[Metric]) -> dict[str, list[Metric]]:
    names: dict[str, list[Metric]] = {}
    for metric in metrics:
        names.setdefault(metric.name, []).append(metric)
    return names


def test_the_state_needs_a_first_window_and_then_follows_the_last_one(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _calm(contract, 49))
    assert monitor.status()[DIGEST].state is Verdict.INSUFFICIENT_DATA
    _send(monitor, _calm(contract, 1))
    assert monitor.status()[DIGEST].state is Verdict.OK
    _send(monitor, _moved(contract, 50))
    status = monitor.status()[DIGEST]
    assert (status.state, status.windows, status.alarms, status.observations) == (Verdict.DRIFT, 2, 1, 100)
    assert status.last_report is not None
    assert status.last_report.drifted_features == ("brightness",)
    _send(monitor, _calm(contract, 50, seed=1))
    assert monitor.status()[DIGEST].state is Verdict.OK


def test_all_workers_fill_the_same_window(monitor: Monitor, contract: Contract) -> None:
    for start in range(0, 50, 10):
        _send(monitor, _calm(contract, 50)[start : start + 10])
    assert monitor.status()[DIGEST].windows == 1


def test_errors_are_counted_but_fill_no_window(monitor: Monitor) -> None:
    _send(monitor, [Observation(400, {"decode": 0.2, "total": 0.3}) for _ in range(60)])
    metrics = _by_name(monitor.collect(0.0))
    assert metrics["Images"][0].values == metrics["Errors"][0].values == (60.0,)
    assert "Observations" not in metrics
    assert monitor.status()[DIGEST].windows == 0


def test_dropped_observations_reported_by_senders_are_summed(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _calm(contract, 1), dropped=4)
    _send(monitor, _calm(contract, 1), dropped=3)
    assert monitor.status()[DIGEST].dropped == 7
    assert _by_name(monitor.collect(0.0))["DroppedObservations"][0].values == (7.0,)


def test_metrics_carry_their_dimensions_and_units(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _moved(contract, 50))
    metrics = _by_name(monitor.collect(123.0))
    common = (("EndpointName", "my-endpoint"), ("VariantName", "AllTraffic"), ("Model", "tiny/7"))
    assert metrics["Images"][0].dimensions == common
    assert metrics["Latency"][0].dimensions == (*common, ("Phase", "total"))
    assert metrics["Latency"][0].unit == "Milliseconds"
    assert metrics["PredictedClass"][0].dimensions == (*common, ("Class", "red"))
    assert metrics["DriftState"][0].values == (1.0,)
    assert {metric.dimensions[3] for metric in metrics["DriftPValue"]} == {
        ("Feature", name) for name in (*contract.feature_names, "predicted_class")
    }
    assert all(metric.timestamp == 123.0 for same in metrics.values() for metric in same)


def test_a_period_starts_empty_but_repeats_the_verdict_with_its_age(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _moved(contract, 50), answered_at=1000.0)
    monitor.collect(1001.0)
    later = {metric.name: metric.values for metric in monitor.collect(1090.0)}
    assert later == {"DriftState": (1.0,), "DriftWindowAge": (90.0,), "Calibrated": (0.0,)}
    _send(monitor, _calm(contract, 50), answered_at=1100.0)  # the next verdict replaces the alarm
    metrics = _by_name(monitor.collect(1050.0))  # a clock that was set back must not give a negative age
    assert (metrics["DriftState"][0].values, metrics["DriftWindowAge"][0].values) == ((0.0,), (0.0,))


def test_there_is_no_verdict_to_send_before_the_first_window_is_full(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _calm(contract, 49))
    assert {"DriftState", "DriftWindowAge"}.isdisjoint(metric.name for metric in monitor.collect(0.0))


def test_equal_values_are_sent_once_with_their_count(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _calm(contract, 30))
    latency = _by_name(monitor.collect(0.0))["Latency"]
    assert [(metric.values, metric.counts) for metric in latency] == [((1.0,), (30,)), ((9.0,), (30,))]


def test_a_report_has_its_windows_number_and_end_time(monitor: Monitor, contract: Contract) -> None:
    for answered_at in (10.0, 20.0, 30.0):
        _send(monitor, _calm(contract, 40, seed=int(answered_at)), answered_at=answered_at)
    report = monitor.status()[DIGEST].last_report
    assert report is not None
    assert (report.model, report.window, report.ended_at, report.observations) == ("tiny/7", 2, 30.0, 50)
    assert (report.level, report.overrides) == (0.0005, ())
    status = monitor.status()[DIGEST]
    assert (status.name, status.observations_in_window, status.window_size) == ("tiny/7", 20, 50)


def test_a_batch_gives_a_report_for_every_window_that_it_fills(monitor: Monitor, contract: Contract) -> None:
    rows = tuple(_calm(contract, 120))
    assert monitor.observe(ObservationBatch(DIGEST, 0.0, rows[:30])) == ()
    reports = monitor.observe(ObservationBatch(DIGEST, 5.0, rows[30:]))
    assert reports is not None
    assert [report.window for report in reports] == [1, 2]


def test_the_same_batches_give_the_same_reports_at_another_time(contract: Contract) -> None:
    batches = [ObservationBatch(DIGEST, 7.0 * seed, tuple(_calm(contract, 30, seed))) for seed in range(5)]
    monitors = [Monitor({DIGEST: contract}.get, "my-endpoint", "AllTraffic") for _ in range(2)]
    first, second = ([monitor.observe(batch) for batch in batches] for monitor in monitors)
    assert first == second


def test_settings_of_the_operator_override_the_archive_and_are_named(contract: Contract) -> None:
    monitor = Monitor({DIGEST: contract}.get, "my-endpoint", "AllTraffic", DriftOverrides(20, 10))
    _send(monitor, _calm(contract, 20))
    status = monitor.status()[DIGEST]
    overrides = (
        "window_size 20 instead of 50, which the archive's certificate does not cover",
        "windows_between_false_alarms 10 instead of 1000, which the archive's certificate does not cover",
    )
    assert (status.windows, status.window_size, status.overrides) == (1, 20, overrides)
    assert status.last_report is not None
    assert (status.last_report.level, status.last_report.overrides) == (0.05, overrides)


def test_a_setting_equal_to_the_archives_value_is_no_override(contract: Contract) -> None:
    monitor = Monitor({DIGEST: contract}.get, "my-endpoint", "AllTraffic", DriftOverrides(50, 1000))
    monitor.watch(DIGEST)
    assert monitor.status()[DIGEST].overrides == ()


def test_a_model_is_known_before_its_first_observation(monitor: Monitor) -> None:
    assert monitor.watch(DIGEST)
    assert not monitor.watch("e" * 64)  # it has no contract
    (status,) = monitor.status().values()
    assert (status.name, status.state, status.observations) == ("tiny/7", Verdict.INSUFFICIENT_DATA, 0)


def test_two_archives_with_the_same_name_are_two_models(contract: Contract) -> None:
    monitor = Monitor({"a": contract, "b": contract}.get, "my-endpoint", "AllTraffic")
    for digest, number in (("a", 30), ("b", 40)):
        monitor.observe(ObservationBatch(digest, 0.0, tuple(_calm(contract, number))))
    assert {digest: (model.name, model.observations) for digest, model in monitor.status().items()} == {
        "a": ("tiny/7", 30),
        "b": ("tiny/7", 40),
    }


def test_observations_of_a_model_without_contract_are_counted_and_logged_once(
    monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert monitor.observe(ObservationBatch("e" * 64, 0.0, (Observation(200, {}), Observation(200, {})))) is None
    assert monitor.status() == {}
    assert monitor.lost == 6
    assert caplog.text.count("no contract for model eee") == 1


def test_a_model_is_monitored_as_soon_as_its_contract_appears(contract: Contract) -> None:
    contracts: dict[str, Contract] = {}
    monitor = Monitor(contracts.get, "my-endpoint", "AllTraffic")
    _send(monitor, _calm(contract, 1))
    contracts[DIGEST] = contract
    monitor.watch(DIGEST)
    _send(monitor, _calm(contract, 2))
    assert (monitor.lost, monitor.progress()) == (1, {DIGEST: Progress(2)})


def test_features_that_do_not_match_the_contract_are_not_monitored(
    monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    _send(monitor, [Observation(200, {}, "red", 0.9, (1.0,))])
    assert monitor.status()[DIGEST].observations == 0
    assert "expected" in caplog.text


def test_the_log_line_of_a_verdict_has_the_model_in_a_field(
    monitor: Monitor, contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    _send(monitor, _moved(contract, 50))
    (record,) = (record for record in caplog.records if "window 1: DRIFT" in record.message)
    assert vars(record)["model"] == "tiny/7"


def _with(observations: list[Observation], **changes: object) -> list[Observation]:
    return [dataclasses.replace(observation, **changes) for observation in observations]


def _numbered(observations: list[Observation]) -> list[Observation]:
    return [dataclasses.replace(one, image_id=str(number)) for number, one in enumerate(observations)]


def test_observations_that_enter_no_window_are_counted_by_reason(monitor: Monitor, contract: Contract) -> None:
    calm = _calm(contract, 4)
    _send(monitor, _with(calm[:3], image_id="a") + calm[3:])  # two duplicates
    _send(monitor, [Observation(400, {"total": 1.0}), *_with(calm[:3], features=None, is_test=True)])
    status = monitor.status()[DIGEST]
    assert status.excluded == {"test": 3, "failed": 1, "duplicate": 2}
    assert status.observations == status.observations_in_window == 2
    metrics = _by_name(monitor.collect(0.0))
    counts = {metric.dimensions[3]: metric.values for metric in metrics["ExcludedObservations"]}
    assert counts == {("Reason", "test"): (3.0,), ("Reason", "failed"): (1.0,), ("Reason", "duplicate"): (2.0,)}
    assert metrics["Images"][0].values == (5.0,)  # tests do not count
    assert metrics["Observations"][0].values == (2.0,)


def test_an_image_counts_again_in_the_next_window(monitor: Monitor, contract: Contract) -> None:
    for _ in range(2):
        _send(monitor, _numbered(_calm(contract, 50)))
    assert monitor.status()[DIGEST].windows == 2
    assert monitor.status()[DIGEST].excluded["duplicate"] == 0


def test_many_retries_of_one_image_are_no_drift(monitor: Monitor, contract: Contract) -> None:
    _send(monitor, _with(_calm(contract, 1) * 500, image_id="a"))
    status = monitor.status()[DIGEST]
    assert (status.state, status.observations, status.excluded["duplicate"]) == (Verdict.INSUFFICIENT_DATA, 1, 499)


def test_five_windows_form_a_long_window_with_its_own_level(monitor: Monitor, contract: Contract) -> None:
    for seed in range(4):
        _send(monitor, _calm(contract, 50, seed))
    assert monitor.status()[DIGEST].last_long_report is None
    reports = monitor.observe(ObservationBatch(DIGEST, 9.0, tuple(_calm(contract, 50, 4))))
    assert reports is not None
    assert [(report.horizon, report.window, report.observations) for report in reports] == [
        ("window", 5, 50),
        ("long window", 1, 250),
    ]
    assert [report.level for report in reports] == [0.0005, 0.0025]
    status = monitor.status()[DIGEST]
    assert (status.long_windows, status.last_report, status.last_long_report) == (1, *reports)


def test_a_long_window_contains_each_image_once(monitor: Monitor, contract: Contract) -> None:
    for _ in range(5):
        _send(monitor, _numbered(_calm(contract, 50)))
    report = monitor.status()[DIGEST].last_long_report
    assert report is not None
    assert report.observations == 50


def test_drift_too_small_for_a_window_is_found_by_the_long_one_and_stays(monitor: Monitor, contract: Contract) -> None:
    column, moved = contract.feature_names.index("brightness"), []
    for seed in range(5):
        for one in _calm(contract, 50, seed):
            assert one.features is not None
            row = tuple(value + 5.5 * (i == column) for i, value in enumerate(one.features))
            moved.append(dataclasses.replace(one, features=row))
    _send(monitor, moved)
    status = monitor.status()[DIGEST]
    assert status.last_report is not None
    assert status.last_long_report is not None
    assert (status.last_report.verdict, status.last_long_report.verdict) == (Verdict.OK, Verdict.DRIFT)
    assert status.last_long_report.drifted_features == ("brightness",)
    _send(monitor, _calm(contract, 50))
    assert monitor.status()[DIGEST].state is Verdict.DRIFT
    assert _by_name(monitor.collect(0.0))["DriftState"][0].values == (1.0,)


def test_a_report_identifies_label_shift_and_estimates_the_accuracy(monitor: Monitor, contract: Contract) -> None:
    columns = np.array(list(contract.reference.values()))
    reds = columns[:, columns[:3].argmax(axis=0) == 0].T[:50]
    _send(monitor, [Observation(200, {}, "red", 0.9, tuple(row)) for row in reds.tolist()])
    report = monitor.status()[DIGEST].last_report
    assert report is not None
    assert "label" in report.shifts
    tests = {test.feature: test for test in report.tests}
    assert tests["predicted_class"].direction == "more red"
    assert tests["predicted_class"].window == (1.0, 0.0, 0.0)
    change = reds[:, :3].max(axis=1).mean() - columns[:3].max(axis=0).mean()
    assert report.estimated_accuracy == pytest.approx(contract.reference_accuracy + change)
    assert report.reference_accuracy == contract.reference_accuracy


def test_a_missing_contract_is_looked_up_only_rarely(contract: Contract) -> None:
    looked_for: list[str] = []

    def find(digest: str) -> Contract | None:
        looked_for.append(digest)
        return None

    monitor = Monitor(find, "endpoint", "variant")
    for _ in range(20):
        assert not monitor.knows("e" * 64)
        assert monitor.observe(ObservationBatch("e" * 64, 1.0, (Observation(200, {}),))) is None
    assert len(looked_for) <= 2
    assert monitor.lost == 20
    assert Monitor({"e" * 64: contract}.get, "endpoint", "variant").knows("e" * 64)


def test_two_names_of_one_archive_share_nothing(contract: Contract) -> None:
    monitor = Monitor(lambda _: contract, "my-endpoint", "AllTraffic")
    day, night = f"{DIGEST}@day", f"{DIGEST}@night"
    monitor.observe(ObservationBatch(day, 0.0, tuple(_calm(contract, 50))))
    monitor.observe(ObservationBatch(night, 0.0, tuple(_moved(contract, 60))))
    assert {key: status.state for key, status in monitor.status().items()} == {day: Verdict.OK, night: Verdict.DRIFT}
    metrics = _by_name(monitor.collect(1.0))
    models = {dict(metric.dimensions)["Model"]: metric.values for metric in metrics["DriftState"]}
    assert models == {"tiny/7 as day": (0.0,), "tiny/7 as night": (1.0,)}
    assert {metric.source for metric in metrics["Images"]} == {DIGEST[:12]}
