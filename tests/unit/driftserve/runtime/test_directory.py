import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from driftserve.archive.contract import Contract
from driftserve.drift.calibration import NOT_CALIBRATED, CalibrationProgress
from driftserve.drift.dependence import Differences
from driftserve.drift.report import Calibration, DriftReport, FeatureTest, Verdict, report_to_json
from driftserve.errors import MonitorError, MonitorNotFound, SettingsError
from driftserve.runtime import directory as runtime
from driftserve.runtime.calibrations import find_calibration, write_calibration
from driftserve.runtime.status import Losses, ModelStatus, read_status, touch_status, write_status

REPORT = DriftReport(
    verdict=Verdict.DRIFT,
    model="tiny/7",
    horizon="window",
    window=1,
    ended_at=1.5,
    observations=50,
    level=0.001,
    shifts=("confidence",),
    estimated_accuracy=0.8,
    reference_accuracy=0.9,
    overrides=("a",),
    calibration=Calibration("CALIBRATING", None, 0.02),
    tests=(
        FeatureTest("margin", "ks", "confidence", 0.25, 1e-9, "lower", (0.1, 0.2, 0.3, 0.4, 0.5), (0.5,) * 5, True),
    ),
)
STATUS = ModelStatus(
    name="tiny/7",
    state=Verdict.DRIFT,
    windows=1,
    long_windows=0,
    alarms=1,
    observations=53,
    observations_in_window=3,
    window_size=50,
    excluded={"test": 1, "failed": 0, "duplicate": 4},
    dropped=2,
    overrides=("a",),
    calibration=Calibration("CALIBRATING", None, 0.04),
    last_report=REPORT,
    last_long_report=None,
)


@pytest.fixture
def root(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("t")))  # a short path
    return runtime.runtime_root()


def test_a_contract_that_a_worker_wrote_is_found(tmp_path: Path, contract: Contract) -> None:
    assert runtime.find_contract(tmp_path, "abc") is None
    runtime.write_contract(tmp_path, "abc", contract)
    assert runtime.find_contract(tmp_path, "abc") == contract


def test_the_only_running_monitor_is_found(root: Path) -> None:
    (root / "dead").mkdir(parents=True)
    (root / "dead" / "monitor.lock").touch()
    with runtime.lock_runtime(root / "1"):
        assert runtime.find_runtime() == root / "1"
        assert read_status(root / "1") == {"models": {}}
        write_status(root / "1", {"abc": STATUS}, Losses())
        assert read_status(root / "1")["models"]["abc"]["observations"] == 53
    with pytest.raises(MonitorNotFound, match="no monitor is running"):
        runtime.find_runtime()
    with pytest.raises(MonitorNotFound, match="no monitor is running there"):
        read_status(root / "1")


def test_the_status_is_by_digest_and_contains_reports_in_their_usual_form(tmp_path: Path) -> None:
    with runtime.lock_runtime(tmp_path):
        write_status(tmp_path, {"abc": STATUS, "def": STATUS}, Losses(unknown_model=4))
        status = read_status(tmp_path)
    assert set(status["models"]) == {"abc", "def"}
    assert status["models"]["abc"]["name"] == "tiny/7"
    assert status["models"]["abc"]["last_report"] == json.loads(report_to_json(REPORT))
    assert status["lost"] == {"unknown_model": 4, "queue_full": 0, "not_understood": 0, "not_recorded": 0}


def test_a_report_is_one_line_of_json() -> None:
    assert report_to_json(REPORT) == (
        '{"verdict":"DRIFT","model":"tiny/7","horizon":"window","window":1,"ended_at":1.5,"observations":50,'
        '"level":0.001,"shifts":["confidence"],"estimated_accuracy":0.8,"reference_accuracy":0.9,"overrides":["a"],'
        '"calibration":{"state":"CALIBRATING","source":null,"progress":0.02},'
        '"tests":[{"feature":"margin","test":"ks","shift":"confidence","statistic":0.25,"p_value":1e-09,'
        '"direction":"lower","window":[0.1,0.2,0.3,0.4,0.5],"reference":[0.5,0.5,0.5,0.5,0.5],"is_drift":true}]}'
    )


def test_known_keys_are_those_of_the_written_contracts(tmp_path: Path, contract: Contract) -> None:
    assert runtime.known_keys(tmp_path) == set()
    runtime.write_contract(tmp_path, "abc", contract)
    runtime.write_contract(tmp_path, "def", contract)
    (tmp_path / "models" / ".ghi.json.7").touch()  # still being written
    assert runtime.known_keys(tmp_path) == {"abc", "def"}


def test_several_running_monitors_are_listed(root: Path) -> None:
    with runtime.lock_runtime(root / "1"), runtime.lock_runtime(root / "2"), pytest.raises(MonitorNotFound) as caught:
        runtime.find_runtime()
    assert f"2 monitors are running; choose one:\n  --runtime-dir {root}/1\n  --runtime-dir {root}/2" in str(
        caught.value
    )


def test_two_monitors_cannot_share_a_directory(tmp_path: Path) -> None:
    with runtime.lock_runtime(tmp_path):
        with pytest.raises(MonitorError, match="another monitor is running there"):
            runtime.lock_runtime(tmp_path)
        with pytest.raises(MonitorError, match="another server is running there"):
            runtime.make_runtime(tmp_path)


def test_two_servers_cannot_share_a_directory(tmp_path: Path) -> None:
    with (
        runtime.make_runtime(tmp_path / "r"),
        pytest.raises(MonitorError, match="another server is running there"),
    ):
        runtime.make_runtime(tmp_path / "r")
    runtime.make_runtime(tmp_path / "r").close()


def test_a_directory_that_others_can_write_to_is_refused(root: Path) -> None:
    refusal = r"expected a directory of this user .* got drwxrwxrwx of user \d+"
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(SettingsError, match=refusal):
        runtime.own_runtime_dir()
    with pytest.raises(SettingsError, match=refusal):
        runtime.make_runtime(root)


def test_a_link_in_place_of_the_root_directory_is_refused_and_its_target_is_kept(root: Path, tmp_path: Path) -> None:
    (tmp_path / "9999999").mkdir()
    root.symlink_to(tmp_path)
    with pytest.raises(SettingsError, match=r"expected a directory of this user .* got lrwxrwxrwx"):
        runtime.own_runtime_dir()
    assert (tmp_path / "9999999").exists()


def test_the_directory_of_a_killed_supervisor_is_removed(root: Path) -> None:
    with runtime.make_runtime(root / "9999999") as mine:
        runtime.own_runtime_dir()
        assert (root / "9999999").exists()  # locked
        mine.close()
    (root / "9999999" / "store").mkdir()
    (root / str(os.getpid())).mkdir()
    (root / "kept").mkdir()
    assert runtime.own_runtime_dir() == root / str(os.getpid())
    assert {path.name for path in root.iterdir()} == {str(os.getpid()), "kept"}


def test_a_monitor_starts_without_the_status_of_its_predecessor(tmp_path: Path) -> None:
    with runtime.lock_runtime(tmp_path):
        write_status(tmp_path, {"abc": STATUS}, Losses())
    with runtime.lock_runtime(tmp_path):
        assert read_status(tmp_path) == {"models": {}}


def test_a_silent_monitor_is_noticed(tmp_path: Path) -> None:
    with runtime.lock_runtime(tmp_path):
        write_status(tmp_path, {}, Losses())
        os.utime(tmp_path / "status.json", (1.0, 1.0))
        assert read_status(tmp_path)["silent_seconds"] > 1e6
        touch_status(tmp_path)
        assert read_status(tmp_path)["silent_seconds"] < 60


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"models": {"abc": {}}, "lost": {}}',
        b'{"models": {}, "lost": 7}',
    ],
)
def test_a_damaged_status_is_an_error_of_one_line(tmp_path: Path, content: bytes) -> None:
    with runtime.lock_runtime(tmp_path):
        (tmp_path / "status.json").write_bytes(content)
        with pytest.raises(MonitorError, match=r"^.*/status\.json: expected the status of a monitor, got .*\Z"):
            read_status(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_something_else_in_place_of_a_file_is_an_error_of_one_line(
    tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "monitor.lock")
    with pytest.raises(MonitorNotFound, match="no monitor is running there"):
        read_status(tmp_path)
    with runtime.lock_runtime(tmp_path / "r"):
        make(tmp_path / "r" / "status.json")
        with pytest.raises(MonitorError, match=r"status\.json: expected the status of a monitor, got .*"):
            read_status(tmp_path / "r")
    (tmp_path / "r" / "models").mkdir()
    make(tmp_path / "r" / "models" / "abc.json")
    assert runtime.find_contract(tmp_path / "r", "abc") is None
    assert "abc.json cannot be read" in caplog.text


def test_a_path_that_is_too_long_for_the_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a path of at most 80 bytes"):
        runtime.make_runtime(tmp_path / ("d" * 80))


def test_an_unreadable_contract_counts_as_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "abc.json").write_text("{")
    assert runtime.find_contract(tmp_path, "abc") is None
    assert "abc.json cannot be read" in caplog.text


def test_a_runtime_directory_that_is_a_file_is_an_error_that_names_the_setting(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("f") / "file"  # a short path
    file.touch()
    for place in (file, file / "below"):
        with pytest.raises(SettingsError, match=rf"^DRIFTSERVE_RUNTIME_DIR: expected a directory, got {place}"):
            runtime.make_runtime(place)


def test_a_damaged_calibration_begins_again(
    tmp_path: Path, contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.write_contract(tmp_path, "abc", contract)
    assert find_calibration(tmp_path, "abc") == NOT_CALIBRATED
    written = CalibrationProgress(3, Differences(3, (0.25, 1e-9), (0.1, 0.2)))
    write_calibration(tmp_path, "abc", written)
    assert find_calibration(tmp_path, "abc") == written
    assert runtime.known_keys(tmp_path) == {"abc"}
    (tmp_path / "models" / "abc.calibration").write_text('{"windows": 3, "effects": [NaN]}')
    assert find_calibration(tmp_path, "abc") == NOT_CALIBRATED
    assert "the calibration begins again" in caplog.text
