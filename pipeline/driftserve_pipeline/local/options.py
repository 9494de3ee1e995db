"""The options of a run on this machine, whatever runs the steps: its flags, and what settings and parameters follow."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PREFIX, PipelineSettings, read_settings

# Corruptions and explanations take longer than all else.
_SHORT = {"robustness_images": "24", "explained_images": "4"}
# Drawn scenes are easy, and need neither large images nor a download.
_DRAWN_PARAMETERS = {"ImageSize": "64", "Epochs": "4", "AccuracyThreshold": "0.6"}
_DRAWN_CHOICE = {"Model": "test_resnet", "LearningRate": "0.004"}  # what a search chooses is no parameter
_PARAMETERS = {"Epochs": "3"}


def add_local_arguments(parser: argparse.ArgumentParser, work: Path, *, images_required: bool) -> None:
    """The flags that both kinds of runs have; the work folder is `work` by default."""
    parser.add_argument("--work", type=Path, default=work, help="default: %(default)s")
    parser.add_argument(
        "--images", type=Path, required=images_required, help="folder with train/ and test/, each <class>/<image>"
    )
    parser.add_argument(
        "--drawn", action="store_true", help="the images are easy: train a small network, from random weights"
    )
    parser.add_argument("--weights", type=Path, help="timm weights, with <file>.json beside them or not")
    parser.add_argument(
        "--pipeline-python", type=Path, required=images_required, help="of the environment with the SageMaker SDK"
    )
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="of the pipeline; repeat")


def local_settings(
    options: argparse.Namespace, environment: Mapping[str, str], defaults: Mapping[str, str]
) -> PipelineSettings:
    """The settings in an environment; those of a short run where it says nothing.

    Args:
        options: of the flags above.
        environment: with `DRIFTSERVE_PIPELINE_*`.
        defaults: more settings that hold where the environment says nothing.

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
    """The parameters of a run on images of this machine: those of a short run, then those of the flags.

    Raises:
        PipelineError: one of a flag has no value.
    """
    choice = {} if settings.tuning else _DRAWN_CHOICE
    short = {**choice, **_DRAWN_PARAMETERS} if options.drawn else _PARAMETERS
    return {**short, **parse_parameters(options.param)}


def parse_parameters(texts: Iterable[str]) -> dict[str, str]:
    """Names and values; of two values for a name the last holds, for make gives its own before the user's.

    >>> parse_parameters(["CodeRevision=unknown", "CodeRevision=123456789012"])
    {'CodeRevision': '123456789012'}

    Raises:
        PipelineError: one has no value.
    """
    parameters = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise PipelineError(f"--param: expected NAME=VALUE, got {text!r}")
        parameters[name] = value
    return parameters


def with_record(weights: Path) -> tuple[Path, ...]:
    """A weights file, and its record where there is one beside it."""
    record = weights.with_name(f"{weights.name}.json")
    return (weights, record) if record.is_file() else (weights,)
