from pathlib import Path

import pytest

from driftserve import runtime
from driftserve.contract import Contract
from driftserve.errors import MonitorError, MonitorNotFound, SettingsError
from driftserve.report import ModelStatus, Verdict

STATUS = {"tiny/7": ModelStatus(Verdict.INSUFFICIENT_DATA, 0, 0, 3, 0, None)}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return runtime.runtime_root()


def test_a_contract_that_a_worker_left_is_found(tmp_path: Path, contract: Contract) -> None:
    assert runtime.find_contract(tmp_path, "abc") is None
    runtime.write_contract(tmp_path, "abc", contract)
    assert runtime.find_contract(tmp_path, "abc") == contract


def test_the_one_running_monitor_is_found(root: Path) -> None:
    (root / "dead").mkdir(parents=True)
    (root / "dead" / "monitor.lock").touch()
    with runtime.lock_runtime(root / "1"):
        assert runtime.find_runtime() == root / "1"
        assert runtime.read_status(root / "1") == {"models": {}}
        runtime.write_status(root / "1", STATUS)
        assert runtime.read_status(root / "1")["models"]["tiny/7"]["observations"] == 3
    with pytest.raises(MonitorNotFound, match="no monitor is running"):
        runtime.find_runtime()
    with pytest.raises(MonitorNotFound, match="no monitor is running there"):
        runtime.read_status(root / "1")


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


def test_a_path_that_is_too_long_for_the_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a path of at most 80 bytes"):
        runtime.make_runtime(tmp_path / ("d" * 80))


def test_a_contract_that_cannot_be_read_is_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "abc.json").write_text("{")
    assert runtime.find_contract(tmp_path, "abc") is None
    assert "abc.json cannot be read" in caplog.text
