"""The flags that both kinds of local run share; and the settings and parameters of a run with these flags."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PREFIX, PipelineSettings, read_settings

# Settings for a short run: corruptions and explanations take the most time.
_SHORT = {"robustness_images": "24", "explained_images": "4"}
# Parameters for drawn scenes, which are easy: they need no large images and no downloaded weights.
_DRAWN_PARAMETERS = {"ImageSize": "64", "Epochs": "4", "AccuracyThreshold": "0.6"}
_DRAWN_CHOICE = {"Model": "test_resnet", "LearningRate": "0.004"}  # parameters only if no search chooses them
_PARAMETERS = {"Epochs": "3"}  # parameters of a short run on other images


def add_local_arguments(parser: argparse.ArgumentParser, work: Path, *, images_required: bool) -> None:
    """Add the flags to a parser. The default work folder is `work`."""
    parser.add_argument("--work", type=Path, default=work, help="work folder (default: %(default)s)")
    parser.add_argument(
        "--images", type=Path, required=images_required, help="folder with train/ and test/, each with <class>/<image>"
    )
    parser.add_argument(
        "--drawn",
        action="store_true",
        help="say that the images are drawn scenes, which are easy: a small network with random weights is trained",
    )
    parser.add_argument("--weights", type=Path, help="timm weights file; <file>.json beside it may describe it")
    parser.add_argument(
        "--pipeline-python",
        type=Path,
        required=images_required,
        help="Python of the environment with the SageMaker SDK",
    )
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="set a parameter; can be repeated"
    )


def local_settings(
    options: argparse.Namespace, environment: Mapping[str, str], defaults: Mapping[str, str]
) -> PipelineSettings:
    """Read the settings from an environment, with the defaults of a short run.

    Args:
        options: the parsed flags of `add_local_arguments`.
        environment: the environment variables, with settings as `DRIFTSERVE_PIPELINE_*`.
        defaults: more defaults, by the name of the setting.

    Raises:
        PipelineError: a setting is unknown or out of bounds.
    """
    assumed = {**_SHORT, **defaults}
    if options.drawn and options.weights is None:
        assumed["pretrained"] = "false"
    variables = {f"{PREFIX}{name.upper()}": text for name, text in assumed.items()}
    known = {name: text for name, text in environment.items() if text or name not in variables}
    return read_settings({**variables, **known})


def local_parameters(options: argparse.Namespace, settings: PipelineSettings) -> dict[str, str]:
    """Return the parameters of a local run: the defaults of a short run, overridden by the flags.

    Raises:
        PipelineError: a flag has no value.
    """
    choice = {} if settings.tuning else _DRAWN_CHOICE
    short = {**choice, **_DRAWN_PARAMETERS} if options.drawn else _PARAMETERS
    return {**short, **parse_parameters(options.param)}


def parse_parameters(texts: Iterable[str]) -> dict[str, str]:
    """Parse `NAME=VALUE` texts. The last value of a name counts, because make puts its own before the user's.

    >>> parse_parameters(["CodeRevision=unknown", "CodeRevision=123456789012"])
    {'CodeRevision': '123456789012'}

    Raises:
        PipelineError: a text has no value.
    """
    parameters = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise PipelineError(f"--param: expected NAME=VALUE, got {text!r}")
        parameters[name] = value
    return parameters


def with_record(weights: Path) -> tuple[Path, ...]:
    """Return a weights file, and its record if there is one beside it."""
    record = weights.with_name(f"{weights.name}.json")
    return (weights, record) if record.is_file() else (weights,)
