import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from driftserve.archive.contract import MOST_REFERENCE_IMAGES, Contract
from driftserve.archive.reading import read_archive
from driftserve.certification.rebaseline import rebaseline
from driftserve.cli import main
from driftserve.drift.watch import DriftWatch
from driftserve.errors import ArchiveError, DataError
from driftserve.observations.observation import Observation, ObservationBatch
from driftserve.observations.replay import record_header
from observation_datagrams import to_datagram
from sample_images import encode, scene

module = import_module("driftserve.certification.rebaseline")


def _brighter(contract: Contract, number: int, seed: int = 0) -> list[tuple[float, ...]]:
    """Return rows of the reference with higher brightness."""
    rows = np.array(list(contract.reference.values())).T
    rows = rows[np.random.default_rng(seed).permutation(len(rows))[:number]]
    rows[:, contract.feature_names.index("brightness")] += 60
    return [tuple(row) for row in rows.tolist()]


def _record(digest: str, rows: Sequence[tuple[float, ...]]) -> list[bytes]:
    """Return a record with each image twice, followed by a failed request and a test request."""
    others = (Observation(400, {}), Observation(200, {}, is_test=True))
    batches = [
        ObservationBatch(digest, 1.0, (Observation(200, {}, "red", 0.9, row, str(number)),) * 2 + others)
        for number, row in enumerate(rows)
    ]
    return [record_header({}), *map(to_datagram, batches)]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure false alarms with few draws, for tests of other behaviour."""
    monkeypatch.setattr(module, "_CALM_ONLY", replace(module._CALM_ONLY, draws=1, windows=10))


def test_recorded_traffic_becomes_the_reference_of_a_new_version(archive: Path, tmp_path: Path) -> None:
    contract, digest = read_archive(archive)
    rows = _brighter(contract, 300)
    done = rebaseline(archive, _record(digest, rows), "8", tmp_path)
    new, new_digest = read_archive(done.archive)
    assert (new.display_name, done.rows, new_digest != digest) == ("tiny/8", 300, True)
    assert list(zip(*new.reference.values(), strict=True)) == rows
    assert new.provenance["rebaselined_from"] == digest
    assert (new.golden, new.files["model.pt"]) == (contract.golden, contract.files["model.pt"])
    old, given = (np.array(list(one.reference.values())).T[:, :3].max(axis=1).mean() for one in (contract, new))
    assert new.reference_accuracy == pytest.approx(contract.reference_accuracy + given - old)
    assert new.reference_accuracy != contract.reference_accuracy
    assert new.provenance["reference_accuracy"] == "estimated from confidence, not measured"
    assert "300 recorded images" in new.certificate.source
    assert "power was not measured" in new.certificate.source
    assert new.certificate.false_alarms[0].size == 50
    for one, verdict in ((contract, "DRIFT"), (new, "OK")):
        watch = DriftWatch(one)
        (report,) = [report for row in rows[:50] for report in watch.add(row, None, 0.0)]
        assert report.verdict.value == verdict


@pytest.mark.usefixtures("hasty")
def test_power_is_measured_with_the_given_images(archive: Path, tmp_path: Path, generator: np.random.Generator) -> None:
    contract, digest = read_archive(archive)
    (tmp_path / "images").mkdir()
    for number in range(150):
        (tmp_path / "images" / f"{number}.png").write_bytes(encode(scene(generator)))
    done = rebaseline(archive, _record(digest, _brighter(contract, 300)), "8", tmp_path / "out", tmp_path / "images")
    certificate = read_archive(done.archive)[0].certificate
    assert "power: 150 images" in certificate.source
    powers = {(cell.corruption, cell.severity): cell.power for cell in certificate.power}
    assert powers["brightness", 3] == 1.0
    assert "against references of 75" in certificate.source
    assert (certificate.reference_images, certificate.images) == (150, 60)  # 150 of the record's 300, 60 of these 150
    assert [alarms.size for alarms in certificate.false_alarms] == [50]
    assert all(cell.accuracy is None for cell in certificate.power)


def test_a_record_that_is_too_small_is_refused(archive: Path, tmp_path: Path) -> None:
    contract, digest = read_archive(archive)
    with pytest.raises(DataError, match="at least 250 images, as many as in a long window, got 200"):
        rebaseline(archive, _record(digest, _brighter(contract, 200)), "8", tmp_path)


@pytest.mark.usefixtures("hasty")
def test_another_models_record_the_same_version_and_no_images_are_refused(archive: Path, tmp_path: Path) -> None:
    contract, digest = read_archive(archive)
    rows = _brighter(contract, 300)
    with pytest.raises(ArchiveError, match="give the archive that was served"):
        rebaseline(archive, _record("e" * 64, rows), "8", tmp_path)
    with pytest.raises(DataError, match="expected another version than the archive's own, 7"):
        rebaseline(archive, _record(digest, rows), "7", tmp_path)
    with pytest.raises(DataError, match=r"expected a version such as 2 or 1\.0-b, got 'a b'; give another"):
        rebaseline(archive, iter(()), "a b", tmp_path)  # found before the record is read
    with pytest.raises(DataError, match=r"expected images as \*\*/\*, got none"):
        rebaseline(archive, _record(digest, rows), "8", tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_archive_is_not_overwritten(archive: Path, tmp_path: Path) -> None:
    contract, digest = read_archive(archive)
    copy = Path(shutil.copy(archive, tmp_path))
    with pytest.raises(DataError, match=r"tiny\.mar exists already; give another --output"):
        rebaseline(copy, _record(digest, _brighter(contract, 300)), "8", tmp_path)
    assert copy.read_bytes() == archive.read_bytes()


@pytest.mark.usefixtures("hasty")
def test_a_sample_of_very_many_recorded_images_becomes_the_reference(archive: Path, tmp_path: Path) -> None:
    contract, digest = read_archive(archive)
    rows = _brighter(contract, 300)
    brightness = contract.feature_names.index("brightness")
    many = [(*row[:brightness], float(n), *row[brightness + 1 :]) for n, row in enumerate(rows * 34)]
    done = rebaseline(archive, _record(digest, many), "8", tmp_path)
    values = read_archive(done.archive)[0].reference["brightness"]
    assert (done.rows, len(set(values))) == (MOST_REFERENCE_IMAGES, MOST_REFERENCE_IMAGES)
    assert set(values) < {float(n) for n in range(len(many))}
    assert max(values) > MOST_REFERENCE_IMAGES  # not only the first ones


@pytest.mark.usefixtures("hasty")
def test_the_command_prints_what_it_wrote(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contract, digest = read_archive(archive)
    record = tmp_path / "observations.jsonl"
    record.write_bytes(b"\n".join(_record(digest, _brighter(contract, 260))) + b"\n")
    options = ["--archive", str(archive), "--new-version", "8", "--output", str(tmp_path / "out")]
    assert main(["rebaseline", str(record), *options]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written == {"archive": str(tmp_path / "out" / "tiny.mar"), "reference_images": 260}
    elsewhere = [*options[:-1], str(tmp_path / "other"), "--served-as", "night"]
    assert main(["rebaseline", str(record), *elsewhere]) == 1
    assert "expected observations of the archive as night, got tiny" in capsys.readouterr().err
    assert main(["rebaseline", str(record), *options[:-1], "/dev/null"]) == 1
    assert "driftserve: " in capsys.readouterr().err
