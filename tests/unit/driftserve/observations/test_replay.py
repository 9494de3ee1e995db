import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from driftserve.archive.contract import Contract
from driftserve.drift.overrides import DriftOverrides
from driftserve.drift.report import report_to_json
from driftserve.drift.watch import Progress
from driftserve.errors import ArchiveError, DataError
from driftserve.monitoring.monitor import Monitor
from driftserve.observations.observation import Observation, ObservationBatch
from driftserve.observations.recorder import Recorder, oldest_first
from driftserve.observations.replay import record_header, recorded_batches, replay
from driftserve.runtime.calibrations import find_calibration, write_calibration
from driftserve.runtime.directory import write_contract
from driftserve.settings import LabelShift
from observation_datagrams import to_datagram

DIGEST = "d" * 64
OTHER = "e" * 64
NAMES = ("day", "night")


def _batches(contract: Contract, number: int, seed: int = 0, model: str = DIGEST) -> list[ObservationBatch]:
    """Return batches of one to nine observations; some have no features, some repeat; bright periods alternate."""
    generator = np.random.default_rng(seed)
    columns = np.array(list(contract.reference.values()))
    brightness = contract.feature_names.index("brightness")
    batches = []
    for index in range(number):
        rows = columns[:, generator.integers(columns.shape[1], size=generator.integers(1, 10))].T.copy()
        rows[:, brightness] += 90 * (index // 30 % 2)
        observations = [
            Observation(200, {"total": 1.5}, "red", 0.9, tuple(row), f"{seed}-{index}-{place}")
            for place, row in enumerate(rows.tolist())
        ]
        if batches and index % 4 == 0:
            observations += batches[-min(len(batches), 1 + index % 7)].observations[:2]
        batches.append(
            ObservationBatch(model, 1e9 + float(generator.uniform()), (*observations, Observation(400, {})), index % 3)
        )
    return batches


def _live(
    directory: Path,
    contract: Contract,
    batches: Sequence[ObservationBatch],
    *policy: int | LabelShift,
    max_bytes: int = 10**8,
) -> None:
    """Record and observe batches as a monitor process does from start to end; `policy` are the operator's settings."""
    overrides = DriftOverrides(*policy)
    monitor = Monitor({DIGEST: contract, OTHER: contract}.get, "e", "v", overrides)
    recorder = Recorder(directory, max_bytes, overrides)
    for batch in batches:
        if monitor.watch(batch.model):
            recorder.record_batch(to_datagram(batch), monitor.progress)
        recorder.record_reports(monitor.observe(batch) or ())
    assert recorder.lost == 0
    recorder.close()


def _recorded(directory: Path, name: str) -> list[bytes]:
    return [
        line for file in oldest_first(directory.glob(f"{name}.jsonl*")) for line in file.read_bytes().splitlines(True)
    ]


def _replayed(directory: Path, contract: Contract, *policy: int | LabelShift) -> list[bytes]:
    reports = replay(_recorded(directory, "observations"), contract, DIGEST, DriftOverrides(*policy))
    return [report_to_json(report).encode() + b"\n" for report in reports]


@pytest.mark.parametrize("policy", [(), (30, 10), (30, 10, "report")])
def test_a_replay_equals_the_reports_of_the_live_monitor_byte_for_byte(
    tmp_path: Path, contract: Contract, policy: tuple[int | LabelShift, ...]
) -> None:
    _live(tmp_path, contract, _batches(contract, 120), *policy)
    reports = _replayed(tmp_path, contract)
    assert reports == _recorded(tmp_path, "reports")
    assert reports == _replayed(tmp_path, contract, *policy)
    assert len(reports) > 8
    assert {b'"DRIFT"' in report for report in reports} == {True, False}


def _uncalibrated(line: bytes) -> dict[str, object]:
    report = json.loads(line)
    del report["calibration"]
    return report


@pytest.mark.parametrize("number", [400, 430, 460])
def test_a_record_with_a_missing_start_gives_its_complete_windows(
    tmp_path: Path, contract: Contract, number: int
) -> None:
    _live(tmp_path, contract, _batches(contract, number), max_bytes=500_000)
    lines = _recorded(tmp_path, "observations")
    (before,) = json.loads(lines[0])["observations_before"].values()
    assert before > 50
    reports = _replayed(tmp_path, contract)
    recorded = _recorded(tmp_path, "reports")
    windows, long_windows = (
        [[line for line in part if horizon in line] for part in (reports, recorded)]
        for horizon in (b'"horizon":"window"', b'"horizon":"long window"')
    )
    # The window whose start is missing was a part of the calibration.
    windows, long_windows = ([list(map(_uncalibrated, lines)) for lines in part] for part in (windows, long_windows))
    assert windows[0] == windows[1][-len(windows[0]) :]
    assert long_windows[0] == long_windows[1][-len(long_windows[0]) :]
    assert (len(windows[0]), len(long_windows[0])) >= (10, 1)


def test_a_restarted_monitor_began_new_windows(tmp_path: Path, contract: Contract) -> None:
    for seed in (1, 2):
        _live(tmp_path, contract, _batches(contract, 45, seed))
    reports = _replayed(tmp_path, contract)
    assert reports == _recorded(tmp_path, "reports")
    assert sum(b'"window":1,' in report for report in reports) == 2


def test_each_part_of_a_record_uses_its_recorded_policy(tmp_path: Path, contract: Contract) -> None:
    for seed, policy in enumerate(((), (30, 10), (40,), ())):
        _live(tmp_path, contract, _batches(contract, 45, seed), *policy)
    reports = _replayed(tmp_path, contract)
    assert reports == _recorded(tmp_path, "reports")
    assert {json.loads(report)["observations"] for report in reports if b'"horizon":"window"' in report} == {30, 40, 50}


def test_a_given_policy_replaces_the_recorded_one(tmp_path: Path, contract: Contract) -> None:
    batches = _batches(contract, 120)
    _live(tmp_path / "a", contract, batches, 30, 10)
    _live(tmp_path / "b", contract, batches, 60, 10)
    assert _replayed(tmp_path / "a", contract, 60) == _recorded(tmp_path / "b", "reports")


@pytest.mark.parametrize("size", [25, 40, 75])
def test_another_window_size_loses_no_observation_between_files(tmp_path: Path, contract: Contract, size: int) -> None:
    batches = _batches(contract, 200)
    _live(tmp_path / "a", contract, batches, max_bytes=600_000)
    _live(tmp_path / "b", contract, batches, size, 1000)
    assert len(list((tmp_path / "a").glob("observations.jsonl*"))) >= 3
    assert _replayed(tmp_path / "a", contract, size, 1000) == _recorded(tmp_path / "b", "reports")


@pytest.mark.parametrize(("size", "number", "windows"), [(50, 600, 12), (60, 490, 8)])
def test_image_ids_of_a_window_of_another_size_are_ignored(
    contract: Contract, size: int, number: int, windows: int
) -> None:
    generator = np.random.default_rng(3)
    columns = np.array(list(contract.reference.values()))
    rows = columns[:, generator.integers(columns.shape[1], size=number)].T.tolist()
    observations = [Observation(200, {}, "red", 0.9, tuple(row), str(index)) for index, row in enumerate(rows)]
    header = record_header({DIGEST: Progress(1250, ("before", "0"))}, DriftOverrides(200))
    lines = [header, *(to_datagram(ObservationBatch(DIGEST, 1.0, (one,))) for one in observations)]
    reports = list(replay(lines, contract, DIGEST, DriftOverrides(size)))
    assert [report.observations for report in reports if report.horizon == "window"] == [size] * windows


def test_an_incomplete_line_of_a_killed_monitor_does_not_affect_the_replay(tmp_path: Path, contract: Contract) -> None:
    for seed in (1, 2):
        _live(tmp_path, contract, _batches(contract, 45, seed))
        with (tmp_path / "observations.jsonl").open("ab") as file:
            file.write(b'{"model":"ddd' if seed == 1 else b"")
    assert _replayed(tmp_path, contract) == _recorded(tmp_path, "reports") != []


def test_batches_of_another_model_are_ignored(tmp_path: Path, contract: Contract) -> None:
    mine, others = _batches(contract, 60), _batches(contract, 60, 1, OTHER)
    mixed = [batch for pair in zip(mine, others, strict=True) for batch in pair]
    _live(tmp_path / "mixed", contract, mixed)
    _live(tmp_path / "mine", contract, mine)
    assert _replayed(tmp_path / "mixed", contract) == _recorded(tmp_path / "mine", "reports") != []


def test_each_name_of_an_archive_has_its_own_windows_in_a_replay(tmp_path: Path, contract: Contract) -> None:
    day, night = (_batches(contract, 60, model=f"{DIGEST}@{name}", seed=seed) for seed, name in enumerate(NAMES))
    mixed = [batch for pair in zip(day, night, strict=True) for batch in pair]
    monitor = Monitor(lambda _: contract, "e", "v")
    recorder = Recorder(tmp_path, 10**8)
    for index, batch in enumerate(mixed):
        if index == 61:
            monitor.forget(day[0].model, 0.0)  # it is unloaded, and loaded again
            recorder.start_part()
        monitor.watch(batch.model)
        recorder.record_batch(to_datagram(batch), monitor.progress)
        recorder.record_reports(monitor.observe(batch) or ())
    recorder.close()
    reports = _replayed(tmp_path, contract)
    assert reports == _recorded(tmp_path, "reports")
    windows = [
        (report["model"], report["window"]) for report in map(json.loads, reports) if len(report["horizon"]) == 6
    ]
    assert windows.count(("tiny/7 as day", 1)) == 2
    assert windows.count(("tiny/7 as night", 1)) == 1
    assert ("tiny/7 as night", 4) in windows


def test_the_traffic_of_one_name_is_taken_from_a_record(contract: Contract) -> None:
    keys = (DIGEST, f"{DIGEST}@day", f"{DIGEST}@tiny", f"{OTHER}@day")
    batches = [batch for key in keys for batch in _batches(contract, 1, model=key)]
    lines = [record_header({}), *map(to_datagram, batches)]
    chosen = [[batch.model for batch in recorded_batches(lines, contract, DIGEST, name)] for name in ("day", "tiny")]
    assert chosen == [[keys[1]], [keys[0], keys[2]]]  # a line without a name is of the archive's own name
    assert [batch.model for batch in recorded_batches(lines, contract, OTHER)] == [keys[3]]
    with pytest.raises(DataError, match="got that of day and tiny; choose one with --served-as"):
        list(recorded_batches(lines, contract, DIGEST))
    with pytest.raises(ArchiveError, match="expected observations of the archive as night, got day, tiny"):
        list(recorded_batches(lines, contract, DIGEST, "night"))


def test_a_record_of_only_other_models_is_refused(contract: Contract) -> None:
    lines = [to_datagram(batch) for batch in _batches(contract, 3, model=OTHER)]
    with pytest.raises(ArchiveError, match=f"expected observations of {DIGEST}, got {OTHER}"):
        list(replay(lines, contract, DIGEST))


@pytest.mark.parametrize(
    "line",
    [
        *(b"\n", b"{}", b'{"observations_before":7}', b'{"observations_before":{"d":"x"}}', b'{"observations_before":'),
        b'{"observations_before":{},"image_ids_before":{},"window_size":0}',
        b'{"observations_before":{},"image_ids_before":{},"windows_between_false_alarms":"x"}',
        b'{"observations_before":{},"image_ids_before":{},"other":1}',
        b'{"observations_before":{"d":1},"image_ids_before":{"d":7}}',
        b'{"observations_before":{"d":1}}',
        b'{"observations_before":{"d":-1},"image_ids_before":{}}',
    ],
)
def test_a_malformed_line_is_an_error_with_its_number(contract: Contract, line: bytes) -> None:
    lines = [record_header({}), *map(to_datagram, _batches(contract, 2)), line]
    with pytest.raises(DataError, match="line 4: expected"):
        list(replay(lines, contract, DIGEST))


def test_a_policy_in_a_header_may_be_written_as_text(contract: Contract) -> None:
    lines = [b'{"observations_before":{},"image_ids_before":{},"window_size":"30"}']
    lines += map(to_datagram, _batches(contract, 20))
    assert {report.observations for report in replay(lines, contract, DIGEST)} >= {30}


def test_an_empty_record_gives_no_reports(contract: Contract) -> None:
    assert list(replay([], contract, DIGEST)) == []


def test_a_calibration_survives_a_restart_of_the_monitor_and_is_replayed(tmp_path: Path, contract: Contract) -> None:
    runtime_dir, directory = tmp_path / "runtime", tmp_path / "record"
    write_contract(runtime_dir, DIGEST, contract)
    columns = np.array(list(contract.reference.values()))
    generator = np.random.default_rng(0)
    overrides = DriftOverrides(window_size=500)  # so that 20 windows calibrate it
    for windows in (20, 2):
        monitor = Monitor({DIGEST: contract}.get, "e", "v", overrides, lambda key: find_calibration(runtime_dir, key))
        monitor.watch(DIGEST)
        recorder = Recorder(directory, 10**8, overrides)
        for _ in range(windows * 5):
            rows = columns[:, np.repeat(generator.integers(columns.shape[1], size=20), 5)].T.tolist()  # runs of 5
            batch = ObservationBatch(DIGEST, 1.0, tuple(Observation(200, {}, "red", 0.9, tuple(row)) for row in rows))
            recorder.record_batch(to_datagram(batch), monitor.progress)
            recorder.record_reports(monitor.observe(batch) or ())
        recorder.close()
        write_calibration(runtime_dir, DIGEST, monitor.progress()[DIGEST].calibration)
    reports = _replayed(directory, contract)
    assert reports == _recorded(directory, "reports")
    states = [json.loads(line)["calibration"]["state"] for line in reports if b'"horizon":"window"' in line]
    assert states == ["CALIBRATING"] * 20 + ["CALIBRATED"] * 2
