"""A small real search: run the command `tune` with real trainings and check its results."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from driftserve.images.decode import decode
from driftserve.images.preprocess import preprocess
from driftserve_demo.synthetic import write_dataset
from driftserve_training.__main__ import main
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.dataset.manifest import scan
from driftserve_training.network.trained import load_trained
from driftserve_training.search.plan import RankBy, make_plan
from driftserve_training.search.scoring import Assignment
from driftserve_training.search.space import Point, Space
from driftserve_training.search.trial import Training

SMALL = ("--no-pretrained", "--image-size", "32", "--epochs", "1", "--batch-size", "16")
POINT = Point("test_resnet", "adamw", 0.01)
SEARCHED = ("--models", "test_resnet", "--optimizers", "adamw", "--learning-rates", "0.003,0.01")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, {"train": 6, "val": 10, "test": 6}, seed=5)
    return folder


@pytest.fixture(scope="module")
def tuned(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("tuned")
    assert main(["tune", "--data", str(data), "--output", str(output), *SEARCHED, *SMALL]) == 0
    return output


def test_a_search_writes_table_plots_and_the_winner(tuned: Path) -> None:
    assert {path.name for path in tuned.iterdir()} == {
        *("best_params.yaml", "history.png", "importances.png", "table.md", "trials.csv"),
        *("study.journal", "study.locks", "trials"),
    }
    with (tuned / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["number"], row["state"], row["learning_rate"], row["epochs"]) for row in rows] == [
        ("0", "complete", "0.003", "1"),
        ("1", "complete", "0.01", "1"),
    ]
    best = yaml.safe_load((tuned / "best_params.yaml").read_text())
    winner = max(rows, key=lambda row: (float(row["val_accuracy"]), -int(row["number"])))
    assert best == {
        "model": "test_resnet",
        "optimizer": "adamw",
        "learning_rate": float(winner["learning_rate"]),
    }


def test_a_trial_that_diverges_fails_and_cannot_win(data: Path, tmp_path: Path) -> None:
    searched = ("--models", "test_resnet", "--optimizers", "sgd", "--learning-rates", "1e30,0.01")
    assert main(["tune", "--data", str(data), "--output", str(tmp_path), *searched, *SMALL]) == 0
    with (tmp_path / "trials.csv").open() as file:
        states = {row["learning_rate"]: row["state"] for row in csv.DictReader(file)}
    assert states == {"1e+30": "failed", "0.01": "complete"}
    assert yaml.safe_load((tmp_path / "best_params.yaml").read_text())["learning_rate"] == 0.01


def test_only_the_network_of_the_winner_is_kept(tuned: Path) -> None:
    (network,) = tuned.glob("trials/*/*.pt")
    record = json.loads((network.parent / "trained.json").read_text())
    with (tuned / "trials.csv").open() as file:
        assert record["val_accuracy"] == pytest.approx(
            max(float(row["val_accuracy"]) for row in csv.DictReader(file)), abs=1e-4
        )
    assert not list(tuned.glob("trials/*/checkpoints"))


def test_the_winner_is_scored_on_test_and_repeating_the_search_trains_nothing(
    tuned: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in tuned.glob("trials/**/*")}
    assert main(["tune", "--data", str(data), "--output", str(tuned), *SEARCHED, *SMALL]) == 0
    assert {path: path.stat().st_mtime_ns for path in tuned.glob("trials/**/*")} == before
    said = json.loads(capsys.readouterr().out)
    record, classifier = load_trained(tuned / "trials" / f"{said['trial']:04d}")
    hits = []
    for path in sorted(data.glob("test/*/*.jpg")):
        pixels = torch.from_numpy(preprocess([decode(path.read_bytes())], record.network.image_spec))
        with torch.inference_mode():
            hits.append(record.labels[int(classifier(pixels).argmax())] == path.parent.name)
    assert said["test_accuracy"] == pytest.approx(np.mean(hits))
    assert said["trials"] == {"complete": 2}


def test_tensorboard_has_parameters_and_score_of_each_trial(tuned: Path) -> None:
    for folder, rate in (("0000", 0.003), ("0001", 0.01)):
        events = EventAccumulator(str(tuned / "trials" / folder / "hparams")).Reload()
        assert "search/objective" in events.Tags()["scalars"]
        content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        given = HParamsPluginData.FromString(content).session_start_info.hparams
        assert (given["model"].string_value, given["learning_rate"].number_value) == ("test_resnet", rate)


def test_a_different_search_in_the_same_folder_is_refused(
    tuned: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ["tune", "--data", str(data), "--output", str(tuned), *SEARCHED, *SMALL]
    assert main([*again, "--seed", "1"]) == 2
    assert "expected seed 0, as in the study 'search', got 1" in capsys.readouterr().err


def _training(data: Path, output: Path, epochs: int, rank_by: RankBy = "validation") -> Training:
    configuration = TrainingConfiguration(
        data=data, output=output, pretrained=False, image_size=32, epochs=epochs, batch_size=16
    )
    space = Space(("test_resnet",), ("adamw",), (0.01,))
    return Training(configuration, make_plan(configuration, space, rank_by=rank_by), scan(data))


def test_a_pruned_training_ends_at_once_and_leaves_no_weights(data: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def prune(epoch: int, _: float) -> None:
        seen.append(epoch)
        raise optuna.TrialPruned

    folder = tmp_path / "trials" / "0003"
    folder.mkdir(parents=True)
    for name in ("configuration.json", "old"):
        (folder / name).write_text("of a search whose journal was removed")
    with pytest.raises(optuna.TrialPruned):
        _training(data, tmp_path, 9)(Assignment(3, POINT, is_retry=False), prune)
    assert seen == [1]
    left = {path.name for path in folder.iterdir()}
    assert {"hparams", "tensorboard"} <= left
    assert not {"checkpoints", "network.pt", "old"} & left


def test_a_retried_training_keeps_its_folder_and_is_scored_on_test_if_that_ranks(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "0003"
    folder.mkdir(parents=True)
    (folder / "old").write_text("of an attempt that was cut off")
    training = _training(data, tmp_path, 1, "test")
    outcome = training(Assignment(3, POINT, is_retry=True), lambda *_: None)
    assert (folder / "old").exists()
    assert outcome.test_accuracy == training.test(3).accuracy
    assert outcome.val_accuracy == load_trained(folder)[0].val_accuracy


def test_test_scores_are_stored_for_machines_without_the_network(
    tuned: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(tuned, other)
    shutil.rmtree(other / "trials")
    said = []
    for output in (tuned, other):
        assert main(["tune", "--data", str(data), "--output", str(output), *SEARCHED, *SMALL]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    assert said[0]["test_macro_f1"] is not None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--models", "resnet_1999"], "expected models of timm, got 'resnet_1999'"),
        (["--optimizers", "adamw,nonsense"], "expected one of timm's optimizers, got 'nonsense'"),
        (["--trials", "3"], "expected no number of trials with a grid, which runs each of its 2 combinations once"),
        (["--sampler", "tpe"], "expected a number of trials with the sampler tpe"),
        (["--data", "/nowhere"], "expected images"),
        (["--weights", "/nowhere/w"], "expected a weights file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_invalid_search_is_an_error_before_the_first_trial(
    data: Path, tmp_path: Path, wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "--data", str(data), "--output", str(tmp_path / "o"), *SEARCHED, *SMALL, *wrong]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--learning-rates", "0.1,fast"], "expected numbers, separated by commas, got '0.1,fast'"),
        (["--learning-rates", "0.1,-1"], "expected rates over 0"),
        (["--models", "a,a"], "expected each value once"),
        (["--models", "a,"], "expected each value once"),
        (["--trials", "0"], "expected a whole number of at least 1"),
    ],
)
def test_a_wrong_flag_is_a_one_line_error(wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--data", "d", "--output", "o", *SEARCHED, *wrong])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_configuration_file_that_fixes_a_searched_parameter_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.yaml").write_text("model: resnet18\n")
    given = ["tune", "--data", str(data), "--output", str(tmp_path / "o"), *SEARCHED]
    assert main([*given, "--config", str(tmp_path / "p.yaml")]) == 2
    assert "p.yaml: expected no model, as `tune` searches it" in capsys.readouterr().err
