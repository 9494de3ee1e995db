import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from driftserve.drift.overrides import DriftOverrides
from driftserve.drift.report import Calibration, DriftReport, Verdict, report_to_json
from driftserve.drift.watch import Progress
from driftserve.observations.recorder import Recorder, oldest_first
from driftserve.observations.replay import record_header

REPORT = DriftReport(Verdict.OK, "tiny/7", "window", 1, 1.0, 50, 0.001, (), 0.9, 0.9, (), Calibration(), ())
EMPTY_HEADER = record_header({})


def _line(number: int) -> bytes:
    return b'{"number":%d,"filling":"%s"}' % (number, b"x" * 1000)


def _record(recorder: Recorder, *numbers: int) -> None:
    for number in numbers:
        _append(recorder, _line(number), number)


def _append(recorder: Recorder, line: bytes, before: int = 0, reports: tuple[DriftReport, ...] = ()) -> None:
    recorder.record_batch(line, lambda: {"abc": Progress(before)} if before else {})
    recorder.record_reports(reports)


def _files(directory: Path) -> list[Path]:
    return oldest_first(directory.glob("observations.jsonl*"))


def _numbers(directory: Path) -> list[int]:
    lines = [json.loads(line) for file in _files(directory) for line in file.read_text().splitlines()]
    return [line["number"] for line in lines if "number" in line]


def test_batches_and_reports_are_appended_one_per_line(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "record", 1_000_000)
    _append(recorder, b'{"a":1}')
    _append(recorder, b'{"a":2}', 1, (REPORT, REPORT))
    assert (tmp_path / "record" / "observations.jsonl").read_bytes() == (EMPTY_HEADER + b'\n{"a":1}\n{"a":2}\n')
    assert (tmp_path / "record" / "reports.jsonl").read_text() == 2 * (report_to_json(REPORT) + "\n")


def test_only_this_user_can_access_the_directory(tmp_path: Path) -> None:
    _record(Recorder(tmp_path / "a" / "record", 100_000), 1)
    assert (tmp_path / "a" / "record").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", [".lock", "observations.jsonl", "reports.jsonl"])
def test_a_link_is_not_followed_and_its_target_is_kept(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "target"
    target.write_text("mine, without an end of line")
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / name).symlink_to(target)
    recorder = Recorder(tmp_path / "record", 100_000)
    _append(recorder, _line(1), reports=(REPORT,))
    assert target.read_text() == "mine, without an end of line"
    assert recorder.lost == (2 if name == ".lock" else 1)
    assert caplog.text.count("cannot write to") == 1


def test_a_pipe_in_place_of_a_record_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "observations.jsonl")
    recorder = Recorder(tmp_path, 100_000)
    _record(recorder, 1)
    assert recorder.lost == 1


def test_only_this_user_can_read_the_records(tmp_path: Path) -> None:
    _append(Recorder(tmp_path, 100_000), _line(1), reports=(REPORT,))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_nothing_is_recorded_where_others_can_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o777)
    recorder = Recorder(tmp_path, 100_000)
    _record(recorder, 1)
    assert recorder.lost == 1
    assert "expected a directory of this user that no other user can write to, got drwxrwxrwx" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_the_record_keeps_the_newest_batches_within_its_size_limit(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 100_000)
    for number in range(500):
        _record(recorder, number)
        assert sum(file.stat().st_size for file in _files(tmp_path)) <= 100_000
    kept = _numbers(tmp_path)
    assert kept == list(range(500 - len(kept), 500))
    assert len(kept) > 70
    assert [file.name for file in _files(tmp_path)] == [f"observations.jsonl{n}" for n in (".3", ".2", ".1", "")]


def test_the_header_of_each_file_counts_the_observations_before_it(tmp_path: Path) -> None:
    _record(Recorder(tmp_path, 100_000), *range(60))
    assert len(_files(tmp_path)) == 3
    for file in _files(tmp_path):
        header, first, *_ = map(json.loads, file.read_text().splitlines())
        assert header["observations_before"] == ({"abc": first["number"]} if first["number"] else {})


def test_a_restarted_monitor_appends_a_header_and_continues(tmp_path: Path) -> None:
    for _ in range(2):
        recorder = Recorder(tmp_path, 100_000)
        _append(recorder, b"{}")
        recorder.close()
    assert (tmp_path / "observations.jsonl").read_bytes() == 2 * (EMPTY_HEADER + b"\n{}\n")


def test_the_header_contains_the_settings_of_the_operator(tmp_path: Path) -> None:
    _append(Recorder(tmp_path, 100_000, DriftOverrides(30, 10, "report")), b"{}")
    header = json.loads((tmp_path / "observations.jsonl").read_text().splitlines()[0])
    assert header == {
        "observations_before": {},
        "image_ids_before": {},
        "calibrations_before": {},
        "window_size": 30,
        "windows_between_false_alarms": 10,
        "label_shift": "report",
    }


def test_a_header_omits_image_ids_that_do_not_fit(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 100_000)
    progress = {"abc": Progress(3000, tuple(f"{number:016x}" for number in range(2000)))}
    recorder.record_batch(b"{}", lambda: progress)
    assert recorder.lost == 0
    header = json.loads((tmp_path / "observations.jsonl").read_text().splitlines()[0])
    assert (header["observations_before"], header["image_ids_before"]) == ({"abc": 3000}, {})


@pytest.mark.parametrize("torn", [b'{"number":3,"fil', b"x" * 100_000, b""], ids=["short", "long", "none"])
@pytest.mark.parametrize("whole", [b"", b'{"number":1}\n{"number":2}\n'], ids=["nothing", "two lines"])
def test_an_incomplete_line_of_a_killed_monitor_is_removed(tmp_path: Path, torn: bytes, whole: bytes) -> None:
    for name in ("observations.jsonl", "reports.jsonl"):
        (tmp_path / name).write_bytes(whole + torn)
    _append(Recorder(tmp_path, 1_000_000), b"{}", reports=(REPORT,))
    assert (tmp_path / "observations.jsonl").read_bytes() == whole + EMPTY_HEADER + b"\n{}\n"
    assert (tmp_path / "reports.jsonl").read_bytes() == whole + report_to_json(REPORT).encode() + b"\n"


def test_only_the_first_of_two_recorders_writes_to_a_directory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (Recorder(tmp_path, 100_000) for _ in range(2))
    _record(first, 1)
    for number in (2, 3):
        _append(second, _line(number), reports=(REPORT,))
    _record(first, 4)
    assert (first.lost, second.lost, _numbers(tmp_path)) == (0, 4, [1, 4])
    assert not (tmp_path / "reports.jsonl").exists()
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "another server records there; give each server its own directory" in record.message
    first.close()
    _record(second, 5)
    assert _numbers(tmp_path) == [1, 4, 5]


# Writes beyond the limit are short, then fail, as on a full disk. The limit applies to all files of the process.
ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from driftserve.observations.recorder import Recorder
from driftserve.drift.watch import Progress
resource.setrlimit(resource.RLIMIT_FSIZE, (2600, resource.RLIM_INFINITY))
recorder = Recorder(Path(sys.argv[1]), 100_000)
for number in range(5):
    recorder.record_batch(b'{"number":%d,"filling":"%s"}' % (number, b"x" * 1000), lambda: {"abc": Progress(number)})
assert recorder.lost == 3, recorder.lost
recorder.record_batch(b'{"number":9}', lambda: {"abc": Progress(9)})  # a short line still fits
"""


def test_a_full_disk_is_logged_once_and_leaves_no_partial_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ON_A_FULL_DISK, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot write to") == 1
    assert _numbers(tmp_path) == [0, 1, 9]
    end = b"\n" + record_header({"abc": Progress(9)}) + b'\n{"number":9}\n'
    assert (tmp_path / "observations.jsonl").read_bytes().endswith(end)


def test_an_unusable_directory_is_logged_once_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    recorder = Recorder(tmp_path / "file", 100_000)
    _append(recorder, _line(1), reports=(REPORT,))
    assert recorder.lost == 2
    assert caplog.text.count("cannot write to") == 1


def test_a_line_longer_than_the_file_limit_is_counted_as_lost(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 100_000)
    _record(recorder, 1)
    _append(recorder, b"x" * 30_000, 1)
    _record(recorder, 2)
    assert recorder.lost == 1
    assert _numbers(tmp_path) == [1, 2]
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lock", "observations.jsonl"]
