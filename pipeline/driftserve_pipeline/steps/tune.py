"""Step Tune: run the training package's search on one machine, in a run without SageMaker."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.steps.command import run_command
from driftserve_pipeline.steps.step import Folders, Step

BEST_FILE = "best.json"
_TABLE_FILE = "table.md"  # the table of all trials
# For each hyperparameter: the flag of the training package's `tune`.
_CHOICES = {"model": "--models", "optimizer": "--optimizers"}
_RANGES = {"learning_rate": "--learning-rates"}
_NOT_SEARCHED_WITH = ("name", "product", "revision")  # hyperparameters of a training job that `tune` does not have


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    for flag, names, values in (("--choice", _CHOICES, "VALUE,..."), ("--range", _RANGES, "LEAST,GREATEST")):
        parser.add_argument(
            flag,
            type=_pair,
            action="append",
            default=[],
            metavar=f"NAME={values}",
            help=f"search space of {', '.join(names)}",
        )
    parser.add_argument("--trials", required=True, metavar="N", help="number of trainings")
    parser.add_argument(
        "--fixed",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="hyperparameter of every training, as for a training job",
    )


def _run(options: argparse.Namespace, folders: Folders) -> str:
    best = folders.fresh_output("best")
    searched = (*_flags("--choice", options.choice, _CHOICES), *_flags("--range", options.range, _RANGES))
    fixed = {name: value for name, value in options.fixed if name not in _NOT_SEARCHED_WITH}
    with tempfile.TemporaryDirectory() as scratch:
        configuration, output = Path(scratch, "fixed.yaml"), Path(scratch, "search")
        configuration.write_text(json.dumps(fixed))  # JSON is YAML too
        places = ("--data", str(folders.input("data")), "--output", str(output), *_weights(folders.input("weights")))
        how = ("--sampler", "tpe", "--trials", options.trials, "--config", str(configuration))
        # The summary is the last line, after progress bars.
        *_, summary = run_command("driftserve_training", "tune", *places, *searched, *how).splitlines()
        shutil.copyfile(output / _TABLE_FILE, best / _TABLE_FILE)
    parameters = json.loads(summary)["parameters"]
    (best / BEST_FILE).write_text(json.dumps({name: str(value) for name, value in parameters.items()}) + "\n")
    return summary


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def _flags(flag: str, pairs: list[tuple[str, str]], known: dict[str, str]) -> list[str]:
    """Return the flags of the training package's `tune` for the searched hyperparameters."""
    names = sorted(name for name, _ in pairs)
    if names != sorted(known):
        raise PipelineError(f"{flag}: expected {', '.join(known)}, each once, got {', '.join(names) or 'none'}")
    return [part for name, values in pairs for part in (known[name], values)]


def _weights(channel: Path) -> tuple[str, ...]:
    """Return the flag for the weights in a channel: a single file, or the folder if each model has its own file."""
    if not channel.is_dir():
        return ()
    shown = (path for path in channel.iterdir() if path.is_file() and not path.name.startswith("."))
    files = [path for path in shown if path.suffix != ".json"]
    return ("--weights", str(files[0] if len(files) == 1 else channel))


TUNE = Step("search for the best model, optimizer and learning rate", _add_arguments, _run)
