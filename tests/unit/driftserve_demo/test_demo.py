import io
import random
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from driftserve.errors import DataError, DriftserveError
from driftserve.images.decode import decode
from driftserve_demo import corruption, stages, synthetic, traffic
from driftserve_demo.__main__ import main
from driftserve_demo.client import Answer, Picture
from driftserve_demo.display import Display
from driftserve_demo.local_aws import MetricsRead
from driftserve_demo.report import (
    ArchiveReport,
    DataReport,
    DriftPhase,
    DriftPhases,
    ParityReport,
    Report,
    ServingReport,
    TrainingReport,
    to_serving_report,
    to_table,
)
from sample_images import LABELS, encode

STREAM = [Picture(str(index).encode(), "image/jpeg", "sea") for index in range(50)]


def test_undrifted_traffic_has_at_least_ten_windows_without_duplicates() -> None:
    windows = traffic.undrifted_windows(STREAM, 20, random.Random(0))
    assert len(windows) >= 10
    assert all(len({picture.body for picture in window}) == 20 for window in windows)


def test_a_stream_smaller_than_a_window_is_refused() -> None:
    with pytest.raises(DataError, match="expected at least 60 images in stream/"):
        traffic.undrifted_windows(STREAM, 60, random.Random(0))


def test_a_quarter_of_ood_traffic_is_out_of_distribution() -> None:
    ood_pictures = [Picture(b"x%d" % index, "image/jpeg", None) for index in range(30)]
    for window in traffic.ood_windows(STREAM, ood_pictures, 40, random.Random(0)):
        assert len({picture.body for picture in window}) == 40
        assert sum(picture.label is None for picture in window) == 10


def test_corrupted_windows_are_lossless_images_of_the_stream(generator: np.random.Generator) -> None:
    stream = [Picture(encode(generator.integers(0, 255, (20, 30, 3)).astype(np.uint8)), "image/png", "a")] * 4
    windows = traffic.corrupted_windows(stream, 4, random.Random(0))
    assert len(windows) >= 2
    assert decode(windows[0][0].body).shape == (20, 30, 3)


@pytest.mark.parametrize(("severity", "deviation"), [(1, 0.08), (3, 0.18)])
def test_the_noise_is_as_strong_as_imagenet_cs(generator: np.random.Generator, severity: int, deviation: float) -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = corruption.gaussian_noise(grey, severity, generator)
    assert noisy.dtype == np.uint8
    assert noisy.std() / 255 == pytest.approx(deviation, rel=0.03)


def test_the_same_seed_gives_the_same_synthetic_images(tmp_path: Path) -> None:
    for name in ("a", "b"):
        synthetic.write_dataset(tmp_path / name, {"train": 2}, seed=7)
    files = sorted((tmp_path / "a").rglob("*.jpg"))
    assert len(files) == 12
    assert all(file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes() for file in files)


def test_the_serving_figures_are_percentiles_and_counts() -> None:
    answers = [Answer(200, {}, float(milliseconds)) for milliseconds in range(1, 100)] + [Answer(500, {}, 100.0)]
    report = to_serving_report(answers, 2, 0.9)
    assert (report.requests, report.errors) == (100, 1)
    assert (report.p50_ms, report.p99_ms) == (50.5, 99.01)


class FakeServer:
    """A fake server whose monitor loses the first observations of a run."""

    def __init__(self, losses: int) -> None:
        self.observations = 40
        self._losses = losses

    def send_all(self, pictures: list[Picture], _: object) -> list[Answer]:
        lost = min(self._losses, len(pictures))
        self._losses -= lost
        self.observations += len(pictures) - lost
        return [Answer(200, {}, 1.0) for _ in pictures]

    def status(self) -> dict[str, object]:
        return {"observations": self.observations, "last_report": {"verdict": "OK", "tests": []}}

    def wait_for_observations(self, _: int) -> dict[str, object]:
        return self.status()


def test_images_with_lost_observations_are_sent_again_to_complete_the_windows() -> None:
    fake = FakeServer(losses=7)
    answers: list[Answer] = []
    phase = stages._send_phase(fake, fake, "calm", [STREAM[:20], STREAM[20:40]], answers, lambda: None)  # type: ignore[arg-type]
    assert (phase.windows, phase.alarms) == (2, 0)
    assert fake.observations == 40 + 2 * 20
    assert len(answers) == 2 * 20 + 7


def test_a_server_that_observes_nothing_ends_the_demo() -> None:
    fake = FakeServer(losses=10_000)
    with pytest.raises(DriftserveError, match="calm 1/1: expected 60 observations, 20 are missing"):
        stages._send_phase(fake, fake, "calm", [STREAM[:20]], [], lambda: None)  # type: ignore[arg-type]


REPORT = Report(
    DataReport("synthetic, drawn by the demo", True, LABELS, {"train": 600, "val": 600, "test": 240, "stream": 600}),
    TrainingReport("mobilenetv2_100", 6, 1234.5, 0.9123, 0.9111),
    ArchiveReport("build/demo/model/scenes.mar", 12_345_678, "0123456789abcdef"),
    ParityReport(3000, 1.2e-7, 1.0),
    ServingReport(12_640, 0, 2, 9.12, 121.3, 0.9123),
    DriftPhases(
        DriftPhase("undrifted", 12, 1, ("embedding_11",), ()),
        DriftPhase(
            "gaussian_noise severity 3", 2, 2, ("max_probability", "entropy", "margin", "brightness", "blur"), ()
        ),
        DriftPhase("25% out of distribution", 2, 2, ("margin",), ()),
    ),
    MetricsRead("driftserve-demo", tuple("abcdefg"), 1234),
)


def test_the_table_has_every_phase_and_fits_into_100_columns() -> None:
    lines = to_table(REPORT).splitlines()
    assert max(map(len, lines)) <= 100
    assert "calm traffic    1 alarm in 12 windows; undrifted" in lines
    assert "noisy traffic   2 alarms in 2 windows; gaussian_noise severity 3" in lines
    assert "                drifted: max_probability, entropy, margin, brightness, ..." in lines
    assert "OOD images      2 alarms in 2 windows; 25% out of distribution" in lines


def test_a_stage_that_fails_is_named_with_the_last_line_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("epoch 1\ntrain: out of memory\n")
    with (
        pytest.raises(stages.StageError) as failed,
        Display(Console(file=io.StringIO())) as display,
        stages._stage(display, "train", "epochs", log),
    ):
        raise DriftserveError("exit status 2")
    log.write_text(log.read_text() + "train: stopped\n")  # a server writes its reason when it stops
    assert failed.value.describe() == f"train failed: exit status 2; {log} ends with: train: stopped"
    log.unlink()
    assert failed.value.describe() == f"train failed: exit status 2; see {log}"


def test_a_wrong_command_line_of_the_demo_is_a_one_line_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--port", "http"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "driftserve_demo: argument --port: invalid int value: 'http'; "
        "run `python -m driftserve_demo --help` for usage\n"
    )


def test_the_demo_keeps_the_files_of_a_folder_that_it_did_not_make(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "data" / "mine"
    kept.parent.mkdir()
    kept.touch()
    assert main(["--output", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"demo: {tmp_path}: expected an empty directory, or one that driftserve made")
    assert line.endswith("got one with data; give another --output")
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "mine"]
