"""The stages of the demo, in order: data, training, evaluation, export, serving, traffic, metrics."""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from driftserve.archive.contract import DriftPolicy, file_sha256
from driftserve.archive.reading import find_archive, read_contract
from driftserve.errors import DataError, DriftserveError
from driftserve.metrics.definitions import all_series
from driftserve_demo import corruption, synthetic, traffic
from driftserve_demo.client import Answer, Client, Picture
from driftserve_demo.local_aws import local_aws, read_metrics
from driftserve_demo.report import (
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


@dataclass(frozen=True)
class DemoOptions:
    """What the demo is told; None leaves a choice to it."""

    output: Path
    port: int
    data: Path | None = None
    weights: Path | None = None
    model: str | None = None
    epochs: int | None = None
    quick: bool = False


def run(options: DemoOptions) -> Report:
    """Run every stage.

    Raises:
        DriftserveError: a stage failed; the message says which and why.
    """
    extent = traffic.QUICK if options.quick else traffic.FULL
    folder, data = prepare_data(options)
    training = train_and_export(options, folder)
    archive = find_archive(options.output / "model")
    contract = read_contract(archive)
    with local_aws() as aws:
        environment = _environment(aws)
        probe = Picture(traffic.image_files(folder / "test")[0].read_bytes(), "application/octet-stream", None)
        with running_server(archive, options.port, environment, probe) as server:
            client = Client(server.url, CONCURRENCY)
            test_answers, parity, accuracy = send_test_images(client, folder, options.output)
            traffic_answers, drift = send_traffic(client, server, folder, contract.drift.window_size, extent)
        # After the end, which flushes the last period.
        cloudwatch = read_metrics(aws, NAMESPACE, all_series(contract, ENDPOINT_NAME, VARIANT_NAME))
    if not cloudwatch.datapoints:
        raise DriftserveError("expected metrics in the local CloudWatch, got none; the server's log above says why")
    return Report(
        data=data,
        training=training,
        archive=ArchiveReport(str(archive), archive.stat().st_size, file_sha256(archive)),
        parity=parity,
        serving=to_serving_report([*test_answers, *traffic_answers], CONCURRENCY, accuracy),
        drift=drift,
        cloudwatch=cloudwatch,
    )


def prepare_data(options: DemoOptions) -> tuple[Path, DataReport]:
    """The folder of images, drawn where none was given."""
    if options.weights is not None and not options.weights.is_file():
        raise DataError(f"{options.weights}: expected a weights file, got none; correct the path")
    for leftover in ("training", "model"):  # of an earlier demo, which is over now
        shutil.rmtree(options.output / leftover, ignore_errors=True)
    folder = options.data or options.output / "data"
    if options.data is None:
        shutil.rmtree(folder, ignore_errors=True)
        images = synthetic.QUICK_IMAGES_PER_CLASS if options.quick else synthetic.IMAGES_PER_CLASS
        synthetic.write_dataset(folder, images)
    for split in SPLITS:  # what would fail after minutes of training fails here
        if not (folder / split).is_dir():
            raise DataError(
                f"{folder}: expected the folders {', '.join(SPLITS)}, each <class>/<image>, got no {split}/"
            )
    found = {split: len(traffic.image_files(folder / split)) for split in SPLITS}
    if found["stream"] < (window_size := DriftPolicy().window_size):
        raise DataError(f"{folder}: expected at least {window_size} images in stream/, a window, got {found['stream']}")
    return folder, DataReport(
        source=str(options.data) if options.data else "synthetic, drawn by the demo",
        is_synthetic=options.data is None,
        labels=tuple(sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())),
        images=found,
    )


def train_and_export(options: DemoOptions, folder: Path) -> TrainingReport:
    """Run the training package's three commands, as a pipeline would."""
    trained = options.output / "training"
    training_options: dict[str, object] = {"--data": folder, "--output": trained}
    if options.data is None:  # drawn scenes are easy, and need neither large images nor a download
        training_options |= {"--image-size": 64, "--epochs": 3 if options.quick else 6, "--learning-rate": 4e-3}
    else:
        training_options |= {"--image-size": 128, "--epochs": 3}
    if options.weights is None:
        training_options["--model"] = "test_resnet" if options.data is None else "mobilenetv2_100"
    overrides = {"--weights": options.weights, "--model": options.model, "--epochs": options.epochs}
    training_options |= {name: value for name, value in overrides.items() if value is not None}
    flags = ["--no-pretrained"] if options.data is None and options.weights is None else []
    _run_training("train", training_options, flags)
    # The corruptions are for the card, and take longer than all else.
    _run_training("evaluate", {"--trained": trained, "--data": folder, "--robustness-images": 0})
    _run_training("export", {"--trained": trained, "--data": folder, "--output": options.output})
    record = json.loads((trained / "trained.json").read_text())
    evaluation = json.loads((trained / "evaluation.json").read_text())["driftserve"]
    return TrainingReport(
        model=record["network"]["model"],
        epochs=record["epochs"],
        seconds=round(record["seconds"], 1),
        test_accuracy=evaluation["accuracy"]["value"],
        test_macro_f1=evaluation["macro_f1"]["value"],
    )


def send_test_images(client: Client, folder: Path, output: Path) -> tuple[list[Answer], ParityReport, float]:
    """Send every test image, marked as a test; hold the answers against the eager network's."""
    with (output / "training" / "predictions-test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [name for name in rows[0] if name not in ("path", "label")]
    pictures = [Picture((folder / row["path"]).read_bytes(), "application/octet-stream", row["label"]) for row in rows]
    answers = client.send_all(pictures, "test images", is_test=True)
    if bad := [answer for answer in answers if answer.status != 200]:
        raise DriftserveError(f"expected 200 for every test image, got {bad[0].status}: {bad[0].body}")
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
    client: Client, server: Server, folder: Path, window_size: int, extent: traffic.Extent
) -> tuple[list[Answer], DriftPhases]:
    """Send the phases window by window; read each window's verdict from the monitor's status."""
    generator = random.Random(0)
    stream = traffic.read_pictures(folder / "stream")
    phases = {
        "undrifted": traffic.undrifted_windows(stream, window_size, generator, extent),
        f"{corruption.KIND} severity {corruption.SEVERITY}": traffic.corrupted_windows(
            stream, window_size, generator, extent
        ),
    }
    ood_pictures = traffic.read_pictures(folder.parent / "ood", is_labelled=False)
    if ood_pictures:
        phases[f"{traffic.OOD_SHARE:.0%} out of distribution"] = traffic.ood_windows(
            stream, ood_pictures, window_size, generator, extent
        )
    answers: list[Answer] = []
    measured = [_send_phase(client, server, kind, windows, answers) for kind, windows in phases.items()]
    return answers, DriftPhases(measured[0], measured[1], measured[2] if ood_pictures else None)


def _send_phase(
    client: Client, server: Server, kind: str, windows: Sequence[traffic.Window], answers: list[Answer]
) -> DriftPhase:
    alarms = 0
    features: dict[str, None] = {}  # an ordered set
    statistics = []
    for number, window in enumerate(windows, start=1):
        report = _send_window(client, server, window, f"{kind} {number}/{len(windows)}", answers)
        alarms += report["verdict"] == "DRIFT"
        features |= dict.fromkeys(test["feature"] for test in report["tests"] if test["is_drift"])
        statistics.append({test["feature"]: test["statistic"] for test in report["tests"] if test["test"] == "ks"})
    return DriftPhase(kind, len(windows), alarms, tuple(features), tuple(statistics))


def _send_window(
    client: Client, server: Server, window: traffic.Window, description: str, answers: list[Answer]
) -> dict[str, Any]:
    """Send one window; the monitor's report on it. Where observations are missing all images are sent again.

    Those that did arrive are duplicates, which the monitor leaves out.
    """
    observed = server.status().get("observations", 0)
    # Up to the end of the monitor's window: what came late, after it was sent again, is in this one already.
    expected = (observed // len(window) + 1) * len(window)
    window = window[: expected - observed]
    for _ in range(_MOST_ATTEMPTS):
        answers += client.send_all(window, description)
        status = server.wait_for_observations(expected)
        missing = expected - status.get("observations", 0)
        if missing <= 0:
            report: dict[str, Any] = status["last_report"]
            return report
    raise DriftserveError(f"{description}: expected {expected} observations, got {missing} less: {answers[-1]}")


def _run_training(command: str, options: dict[str, object], flags: Sequence[str] = ()) -> None:
    arguments = [text for name, value in options.items() for text in (name, str(value))]
    # Under a guard: stopped while a child begins, this process would leave it behind.
    guard = [sys.executable, "-m", "driftserve.host.guard", str(os.getpid())]
    training = [sys.executable, "-m", "driftserve_training", command, *arguments, *flags]
    done = subprocess.run([*guard, *training], start_new_session=True)  # Ctrl-C reaches this process alone
    if done.returncode != 0:
        raise DriftserveError(
            f"`driftserve_training {command}` ended with {done.returncode}; its output above says why"
        )


def _environment(aws: dict[str, str]) -> dict[str, str]:
    """This process's variables, without those that would lead the server to another AWS or another setting."""
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
