"""Translate a tuning job into one process: the step program `tune`, with the training package's search."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.local.processes.job import CONTAINERS_PYTHON

_CHOICES, _RANGES = "CategoricalParameterRanges", "ContinuousParameterRanges"
_BEST = "processing/output/best/best.json"


def searched(name: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the hyperparameters in the search of CreateHyperParameterTuningJob's arguments.

    Raises:
        PipelineError: the step program does not support this search.
    """
    ranges = arguments["HyperParameterTuningJobConfig"]["ParameterRanges"]
    if "TrainingJobDefinition" not in arguments or not set(ranges) <= {_CHOICES, _RANGES}:
        got = ", ".join((*arguments, *ranges))
        raise PipelineError(f"{name}: expected one TrainingJobDefinition, {_CHOICES} and {_RANGES}, got {got}")
    return tuple(one["Name"] for kind in ranges.values() for one in kind)


def to_processing(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a processing job that runs the search of a tuning job, with the same number of trainings."""
    definition = arguments["TrainingJobDefinition"]
    channels = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in definition["InputDataConfig"]
    }
    return {
        "AppSpecification": {
            "ContainerEntrypoint": [CONTAINERS_PYTHON, "-m", "driftserve_pipeline.steps"],
            "ContainerArguments": ["tune", *_flags(arguments["HyperParameterTuningJobConfig"], definition)],
        },
        "ProcessingInputs": [
            {"S3Input": {"S3Uri": uri, "LocalPath": f"/opt/ml/processing/input/{name}"}}
            for name, uri in channels.items()
        ],
        "Environment": definition.get("Environment", {}),
    }


def best_training(base: Path) -> dict[str, Any]:
    """Return what SageMaker would report about the best training, read from the folder that stands for /opt/ml."""
    return {"BestTrainingJob": {"TunedHyperParameters": json.loads((base / _BEST).read_text())}}


def _flags(configuration: Mapping[str, Any], definition: Mapping[str, Any]) -> Iterator[str]:
    ranges = configuration["ParameterRanges"]
    for choice in ranges.get(_CHOICES, ()):
        yield from ("--choice", f"{choice['Name']}={','.join(choice['Values'])}")
    for one in ranges.get(_RANGES, ()):
        yield from ("--range", f"{one['Name']}={one['MinValue']},{one['MaxValue']}")
    yield from ("--trials", str(configuration["ResourceLimits"]["MaxNumberOfTrainingJobs"]))
    for name, value in definition.get("StaticHyperParameters", {}).items():
        yield from ("--fixed", f"{name}={value}")
