"""The stages of the demo, in order: data, training, evaluation, export, serving, traffic, metrics."""

import csv
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from driftserve.archive.contract import DriftPolicy, file_sha256
from driftserve.archive.reading import find_archive, read_contract
from driftserve.errors import DataError, DriftserveError
from driftserve.images.decode import MEDIA_TYPES
from driftserve.metrics.definitions import all_series
from driftserve_demo import child, corruption, synthetic, traffic
from driftserve_demo.client import Answer, Client, Picture
from driftserve_demo.display import Display, Stage
from driftserve_demo.local_aws import local_aws, read_metrics
from driftserve_demo.report import (
    CALM,
    NOISY,
    OOD,
    ArchiveReport,
    DataReport,
    DriftPhase,
    DriftPhases,
    ParityReport,
    Report,
    TrainingReport,
    to_serving_report,
)
from driftserve_demo.server import Server, running_server

SPLITS = ("train", "val", "test", "stream")
NAMESPACE = "driftserve-demo"
ENDPOINT_NAME = "demo"
VARIANT_NAME = "AllTraffic"
CONCURRENCY = 2
METRICS_PERIOD_SECONDS = 5
_MOST_ATTEMPTS = 5


class StageError(DriftserveError):
    """A stage failed. Its log is complete only after all child processes have ended; call `describe` then."""

    def __init__(self, reason: str, log: Path | None) -> None:
        super().__init__(reason)
        self.log = log

    def describe(self) -> str:
        """Return the stage, the reason, and the log with its last line."""
        if self.log is None:
            return str(self)
        line = child.last_line(self.log)
        return f"{self}; {self.log} ends with: {line}" if line else f"{self}; see {self.log}"


StageOfTraffic = Callable[[str], AbstractContextManager[Stage]]  # shows the phase with this name while it runs


@dataclass(frozen=True)
class DemoOptions:
    """The options of the command line; for None the demo chooses a value."""

    output: Path
    port: int
    data: Path | None = None
    weights: Path | None = None
    model: str | None = None
    epochs: int | None = None
    quick: bool = False


def run(options: DemoOptions, display: Display) -> Report:
    """Run every stage.

    Raises:
        StageError: a stage failed.
    """
    extent = traffic.QUICK if options.quick else traffic.FULL
    with _stage(display, "data", "images") as stage:
        folder, data = prepare_data(options, stage)
    training = train_and_export(options, folder, display)
    archive = find_archive(options.output / "model")
    contract = read_contract(archive)
    log = options.output / "serve.log"
    with local_aws() as aws, ExitStack() as serving:
        with _stage(display, "serve", "TorchServe", log):
            probe = Picture(traffic.image_files(folder / "test")[0].read_bytes(), "application/octet-stream", None)
            server = serving.enter_context(running_server(archive, options.port, _environment(aws), probe, log))
        client = Client(server.url, CONCURRENCY)
        with _stage(display, "test images", "requests", log) as stage:
            test_answers, parity, accuracy = send_test_images(client, folder, options.output, stage)
        traffic_answers, drift = send_traffic(
            client,
            server,
            folder,
            contract.drift.window_size,
            extent,
            lambda name: _stage(display, name, "requests", log),
        )
        with _stage(display, "metrics", "series read back", log) as stage:
            serving.close()  # the server sends the metrics of the last period when it stops
            series = list(all_series(contract, ENDPOINT_NAME, VARIANT_NAME))
            stage.expect(len(series))
            cloudwatch = read_metrics(aws, NAMESPACE, series, stage.advance)
            if not cloudwatch.datapoints:
                raise DriftserveError("expected metrics in the local CloudWatch, got none")
    return Report(
        data=data,
        training=training,
        archive=ArchiveReport(str(archive), archive.stat().st_size, file_sha256(archive)),
        parity=parity,
        serving=to_serving_report([*test_answers, *traffic_answers], CONCURRENCY, accuracy),
        drift=drift,
        cloudwatch=cloudwatch,
    )


@contextmanager
def _stage(display: Display, name: str, subject: str, log: Path | None = None) -> Iterator[Stage]:
    """Show a stage; raise `StageError` if it fails."""
    try:
        with display.stage(name, subject) as stage:
            yield stage
    except (DriftserveError, OSError) as error:
        raise StageError(f"{name} failed: {error}", log) from error


def prepare_data(options: DemoOptions, stage: Stage) -> tuple[Path, DataReport]:
    """Draw the images, or check the given folder; return the folder and the report on its images."""
    if options.weights is not None and not options.weights.is_file():
        raise DataError(f"{options.weights}: expected a weights file, got none; correct the path")
    for leftover in ("training", "model"):  # from an earlier demo
        shutil.rmtree(options.output / leftover, ignore_errors=True)
    folder = options.data or options.output / "data"
    if options.data is None:
        shutil.rmtree(folder, ignore_errors=True)
        images = synthetic.QUICK_IMAGES_PER_CLASS if options.quick else synthetic.IMAGES_PER_CLASS
        stage.expect(synthetic.count_images(images))
        synthetic.write_dataset(folder, images, on_image=stage.advance)
    for split in SPLITS:  # before minutes of training
        if not (folder / split).is_dir():
            raise DataError(
                f"{folder}: expected the folders {', '.join(SPLITS)}, each <class>/<image>, got no {split}/"
            )
    found = {split: len(traffic.image_files(folder / split)) for split in SPLITS}
    if found["stream"] < (window_size := DriftPolicy().window_size):
        raise DataError(
            f"{folder}: expected at least {window_size} images in stream/, the size of a window, got {found['stream']}"
        )
    return folder, DataReport(
        source=str(options.data) if options.data else "synthetic, drawn by the demo",
        is_synthetic=options.data is None,
        labels=tuple(sorted({path.parent.name for path in traffic.image_files(folder / "train")})),
        images=found,
    )


def example_image(options: DemoOptions) -> tuple[Path, str]:
    """Return a test image and its content type, for a first request."""
    if options.data is None:
        return options.output / "data/test/sea/0000.jpg", "image/jpeg"
    image = traffic.image_files(options.data / "test")[0]
    return image, MEDIA_TYPES[image.suffix.lower()]


def train_and_export(options: DemoOptions, folder: Path, display: Display) -> TrainingReport:
    """Run `train`, `evaluate` and `export` of the training package, as a pipeline does; return the scores."""
    trained = options.output / "training"
    training_options: dict[str, object] = {"--data": folder, "--output": trained}
    if options.data is None:  # drawn scenes are easy: small images and no download
        training_options |= {"--image-size": 64, "--epochs": 3 if options.quick else 6, "--learning-rate": 4e-3}
    else:
        training_options |= {"--image-size": 128, "--epochs": 3}
    if options.weights is None:
        training_options["--model"] = "test_resnet" if options.data is None else "mobilenetv2_100"
    overrides = {"--weights": options.weights, "--model": options.model, "--epochs": options.epochs}
    training_options |= {name: value for name, value in overrides.items() if value is not None}
    flags = ["--no-pretrained"] if options.data is None and options.weights is None else []
    log = options.output / "train.log"
    with _stage(display, "train", "epochs", log) as stage:
        stage.expect(cast(int, training_options["--epochs"]))
        _run_training("train", training_options, flags, log, lambda: stage.reach(_count_epochs(trained)))
    inputs = {"--trained": trained, "--data": folder}
    log = options.output / "evaluate.log"
    with _stage(display, "evaluate", "scores of the test images", log):
        # The scores on corrupted images appear only on the model card, and take longer than everything else.
        _run_training("evaluate", inputs | {"--robustness-images": 0}, [], log)
    log = options.output / "export.log"
    with _stage(display, "export", "archive and model card", log):
        _run_training("export", inputs | {"--output": options.output}, [], log)
    record = json.loads((trained / "trained.json").read_text())
    evaluation = json.loads((trained / "evaluation.json").read_text())["driftserve"]
    return TrainingReport(
        model=record["network"]["model"],
        epochs=record["epochs"],
        seconds=round(record["seconds"], 1),
        test_accuracy=evaluation["accuracy"]["value"],
        test_macro_f1=evaluation["macro_f1"]["value"],
    )


def _run_training(
    command: str,
    options: Mapping[str, object],
    flags: Sequence[str],
    log: Path,
    on_poll: Callable[[], None] = lambda: None,
) -> None:
    arguments = [text for name, value in options.items() for text in (name, str(value))]
    child.run([sys.executable, "-m", "driftserve_training", command, *arguments, *flags], log, on_poll)


def _count_epochs(trained: Path) -> int:
    """Return how many epochs have ended: training writes a row for each, below one row of titles."""
    history = trained / "history.csv"
    return len(history.read_text().splitlines()) - 1 if history.exists() else 0


def send_test_images(
    client: Client, folder: Path, output: Path, stage: Stage
) -> tuple[list[Answer], ParityReport, float]:
    """Send every test image, marked as a test.

    Return the answers, their difference from the PyTorch network before export, and their accuracy.
    """
    with (output / "training" / "predictions-test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [name for name in rows[0] if name not in ("path", "label")]
    pictures = [Picture((folder / row["path"]).read_bytes(), "application/octet-stream", row["label"]) for row in rows]
    stage.expect(len(pictures))
    answers = client.send_all(pictures, stage.advance, is_test=True)
    if bad := [answer for answer in answers if answer.status != 200]:
        raise DriftserveError(f"expected status 200 for every test image, got {bad[0].status}: {bad[0].body}")
    eager = np.array([[float(row[label]) for label in labels] for row in rows])
    served = np.array([[_probabilities(answer)[label] for label in labels] for answer in answers])
    is_correct = [answer.body["label"] == row["label"] for answer, row in zip(answers, rows, strict=True)]
    parity = ParityReport(
        images=len(rows),
        max_abs_diff=float(np.abs(eager - served).max()),
        argmax_agreement=float((eager.argmax(axis=1) == served.argmax(axis=1)).mean()),
    )
    return answers, parity, float(np.mean(is_correct))


def send_traffic(
    client: Client, server: Server, folder: Path, window_size: int, extent: traffic.Extent, stage: StageOfTraffic
) -> tuple[list[Answer], DriftPhases]:
    """Send each phase window by window; return all answers, and the monitor's verdicts on the windows of each phase."""
    generator = random.Random(0)
    stream = traffic.read_pictures(folder / "stream")
    ood_pictures = traffic.read_pictures(folder.parent / "ood", is_labelled=False)
    answers: list[Answer] = []

    def send_phase(name: str, kind: str, make_windows: Callable[[], list[traffic.Window]]) -> DriftPhase:
        with stage(name) as progress:
            windows = make_windows()
            progress.expect(sum(map(len, windows)))
            return _send_phase(client, server, kind, windows, answers, progress.advance)

    undrifted = send_phase(CALM, "undrifted", lambda: traffic.undrifted_windows(stream, window_size, generator, extent))
    corrupted = send_phase(
        NOISY,
        f"{corruption.KIND} severity {corruption.SEVERITY}",
        lambda: traffic.corrupted_windows(stream, window_size, generator, extent),
    )
    if not ood_pictures:
        return answers, DriftPhases(undrifted, corrupted, None)
    ood = send_phase(
        OOD,
        f"{traffic.OOD_SHARE:.0%} out of distribution",
        lambda: traffic.ood_windows(stream, ood_pictures, window_size, generator, extent),
    )
    return answers, DriftPhases(undrifted, corrupted, ood)


def _send_phase(
    client: Client,
    server: Server,
    kind: str,
    windows: Sequence[traffic.Window],
    answers: list[Answer],
    on_answer: Callable[[], None],
) -> DriftPhase:
    alarms = 0
    features: dict[str, None] = {}  # an ordered set
    statistics = []
    for number, window in enumerate(windows, start=1):
        report = _send_window(client, server, window, f"{kind} {number}/{len(windows)}", answers, on_answer)
        alarms += report["verdict"] == "DRIFT"
        features |= dict.fromkeys(test["feature"] for test in report["tests"] if test["is_drift"])
        statistics.append({test["feature"]: test["statistic"] for test in report["tests"] if test["test"] == "ks"})
    return DriftPhase(kind, len(windows), alarms, tuple(features), tuple(statistics))


def _send_window(
    client: Client,
    server: Server,
    window: traffic.Window,
    description: str,
    answers: list[Answer],
    on_answer: Callable[[], None],
) -> dict[str, Any]:
    """Send one window; return the monitor's report on it. If observations are missing, send all images again.

    The observations that did arrive are then duplicates, and the monitor ignores duplicates.
    """
    observed = server.status().get("observations", 0)
    # Fill the monitor's window to its end: it can already hold observations that arrived late.
    expected = (observed // len(window) + 1) * len(window)
    window = window[: expected - observed]
    for _ in range(_MOST_ATTEMPTS):
        answers += client.send_all(window, on_answer)
        status = server.wait_for_observations(expected)
        missing = expected - status.get("observations", 0)
        if missing <= 0:
            report: dict[str, Any] = status["last_report"]
            return report
    raise DriftserveError(
        f"{description}: expected {expected} observations, {missing} are missing; last answer: {answers[-1]}"
    )


def _environment(aws: dict[str, str]) -> dict[str, str]:
    """Return the server's environment: this process's variables without those for AWS and driftserve, and our own."""
    prefixes = ("AWS_", "DRIFTSERVE_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return (
        inherited
        | aws
        | {
            "NO_PROXY": "127.0.0.1,localhost",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "DRIFTSERVE_SINKS": "cloudwatch",
            "DRIFTSERVE_ENDPOINT_NAME": ENDPOINT_NAME,
            "DRIFTSERVE_VARIANT_NAME": VARIANT_NAME,
            "DRIFTSERVE_CLOUDWATCH_NAMESPACE": NAMESPACE,
            "DRIFTSERVE_METRICS_PERIOD_SECONDS": str(METRICS_PERIOD_SECONDS),
            "DRIFTSERVE_WORKERS": str(CONCURRENCY),
        }
    )


def _probabilities(answer: Answer) -> dict[str, float]:
    return cast(dict[str, float], answer.body["probabilities"])
