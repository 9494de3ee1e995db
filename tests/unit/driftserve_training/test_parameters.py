import argparse
from pathlib import Path

import pytest

from driftserve.errors import DataError
from driftserve_training.__main__ import _parser, main
from driftserve_training.configuration import Locations, TrainingConfiguration
from driftserve_training.dataset.location import located
from driftserve_training.parameters import from_environment, read_winner, read_yaml, to_configuration

PLACES = {"data": "d", "output": "o"}


def test_the_first_source_with_a_parameter_takes_precedence() -> None:
    flags, environment, file = {"epochs": 1}, {"epochs": "2", "seed": "2"}, {"epochs": 3, "seed": 3, "batch_size": 3}
    chosen = to_configuration(PLACES | flags, environment, file)
    assert (chosen.epochs, chosen.seed, chosen.batch_size, chosen.head_epochs) == (1, 2, 3, 1)
    assert (chosen.model, chosen.optimizer) == (read_winner()["model"], read_winner()["optimizer"])


@pytest.mark.parametrize("field", TrainingConfiguration.model_fields)
def test_an_empty_variable_is_refused(field: str) -> None:
    name = f"DRIFTSERVE_TRAINING_{field.upper()}"
    with pytest.raises(DataError, match=rf"^{name}: expected a value, got an empty one; unset the variable"):
        from_environment({name: ""})


def test_given_weights_determine_the_model() -> None:
    assert to_configuration(PLACES | {"weights": "w"}).model is None
    assert to_configuration(PLACES | {"weights": "w", "model": "resnet18"}).model == "resnet18"


def test_the_winner_file_contains_only_parameters() -> None:
    winner = read_winner()
    assert set(winner) == {"model", "optimizer", "learning_rate"}
    assert TrainingConfiguration.model_validate(PLACES | winner).learning_rate == winner["learning_rate"]


def test_yaml_keys_may_have_hyphens_or_underscores(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("learning-rate: 1e-2\nbatch_size: 8\n")
    chosen = to_configuration(PLACES, read_yaml(path))
    assert (chosen.learning_rate, chosen.batch_size) == (0.01, 8)
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rte: 1", r"p\.yaml: unknown parameter 'learning_rte', expected one of .*learning_rate.*; remove it"),
        ("- epochs", r"p\.yaml: expected parameters as `name: value`, got list"),
        ("a: [", r"p\.yaml: expected YAML, got while parsing"),
        (None, r"p\.yaml: cannot read the file: No such file"),
    ],
)
def test_the_error_for_invalid_yaml_is_one_line(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_yaml(path)
    assert "\n" not in str(caught.value)


def test_only_variables_with_the_prefix_are_parameters() -> None:
    environment = {"DRIFTSERVE_TRAINING_EPOCHS": "7", "DRIFTSERVE_DATA": "x", "PATH": "y"}
    assert from_environment(environment) == {"epochs": "7"}
    with pytest.raises(DataError, match=r"DRIFTSERVE_TRAINING_EPOCH: unknown parameter 'epoch', expected one of "):
        from_environment({"DRIFTSERVE_TRAINING_EPOCH": "7"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epochs", "0"], "argument --epochs: Input should be greater than or equal to 1, got '0'"),
        (["train", "--precision", "7"], "argument --precision: Input should be 'auto', '32-true'"),
        (["train", "--epoch", "1"], "unrecognized arguments: --epoch 1"),
        (["train", "--lr", "1"], "unrecognized arguments: --lr 1"),
        (["train", "--data", "d"], "output: Field required"),
        (["train", "--output", "o"], "expected data, or a folder for each split, got none for train, val, test"),
        (["train", "--data", "d", "--output", "o", "--optimizer", "adamx"], "expected one of timm's optimizers"),
        (["train", "--data", "nowhere", "--output", "o"], "nowhere: expected images as train/<class>/<image>.jpg"),
        (["train", "--config", "nowhere.yaml"], "nowhere.yaml: cannot read the file"),
        (["fit"], "invalid choice: 'fit'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_an_input_error_is_one_line_with_exit_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code  # type: ignore[assignment]
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("driftserve_training: ")
    assert message in line


def test_splits_may_be_in_other_folders(tmp_path: Path) -> None:
    for name in ("all/train", "all/val", "all/test", "all/stream", "other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "mark").write_text(name)
    given = {"data": tmp_path / "all", "output": "o", "test_data": tmp_path / "other"}
    with located(TrainingConfiguration.model_validate(given)) as folder:
        marks = {path.name: (path / "mark").read_text() for path in folder.iterdir()}
    assert marks == {"train": "all/train", "val": "all/val", "test": "other", "stream": "all/stream"}


def test_the_error_for_a_missing_split_names_it(tmp_path: Path) -> None:
    given = Locations(train_data=tmp_path, val_data=tmp_path)
    with (
        pytest.raises(DataError, match=r"expected data, or a folder for each split, got none for test; give --data"),
        located(given),
    ):
        pass
    with located(given, ("val",)) as folder:
        assert (folder / "val").samefile(tmp_path)


def test_the_error_for_an_invalid_split_folder_shows_it_as_given(tmp_path: Path) -> None:
    given = Locations(data=tmp_path, val_data=tmp_path / "vla")
    with pytest.raises(DataError, match=r"/vla: expected a folder of val images, .*, got none"), located(given):
        pass


def test_every_command_has_the_same_flags_for_images() -> None:
    (commands,) = (action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction))
    flags = {
        name: {
            action.dest: (action.option_strings, action.metavar, action.help)
            for action in command._actions
            if action.dest in Locations.model_fields
        }
        for name, command in commands.choices.items()
        if name in ("train", "tune", "evaluate", "explain", "export")
    }
    assert list(flags["train"]) == ["data", "train_data", "val_data", "test_data"]
    assert all(others == flags["train"] for others in flags.values())


def test_a_variable_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(DataError, match="DRIFTSERVE_TRAINING_DATA: expected UTF-8, got caf\udce9"):
        from_environment({"DRIFTSERVE_TRAINING_DATA": "caf\udce9"})
