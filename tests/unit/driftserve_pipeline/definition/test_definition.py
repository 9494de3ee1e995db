"""Tests of the golden pipeline definitions. They do not need the SageMaker SDK."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from checkout import ROOT
from driftserve_pipeline.steps.__main__ import _parser as step_parser
from driftserve_training.__main__ import _parser
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.job.hyperparameters import read_hyperparameters
from driftserve_training.parameters import read_winner
from golden_pipelines import GOLDEN, VARIANTS, find_step, flat, inputs, places, read_golden, requests, resolved
from pipeline_definition_schema import Definition
from sagemaker_request_shapes import problems

PARAMETER_PLACES = {
    "Model": {"Train HyperParameters.model", "Train CheckpointConfig.S3Uri"},
    "BatchSize": {"Train HyperParameters.batch_size", "Train CheckpointConfig.S3Uri"},
    "Optimizer": {"Train HyperParameters.optimizer", "Train CheckpointConfig.S3Uri"},
    "LearningRate": {"Train HyperParameters.learning_rate", "Train CheckpointConfig.S3Uri"},
    "Epochs": {"Train HyperParameters.epochs", "Train CheckpointConfig.S3Uri"},
    "ImageSize": {"Train HyperParameters.image_size", "Train CheckpointConfig.S3Uri"},
    "Augmentation": {"Train HyperParameters.augmentation", "Train CheckpointConfig.S3Uri"},
    "TrainLocation": {"Fetch --source"},
    "TestLocation": {"Fetch --test-source"},
    "AnnotationRelease": {"Preprocess --annotations"},
    "UnusableImages": {"Preprocess --unusable-images"},
    "CodeRevision": {
        "Train HyperParameters.revision",
        "Train CheckpointConfig.S3Uri",
        "Register CustomerMetadataProperties.revision",
    },
    "SourceDigest": {"Fetch --digest"},
    "InstanceType": {"Train ResourceConfig.InstanceType", "Train CheckpointConfig.S3Uri"},
    "InstanceCount": {"Train ResourceConfig.InstanceCount", "Train CheckpointConfig.S3Uri"},
    "AccuracyThreshold": {"Evaluate --threshold", "Decide Conditions.0.RightValue"},
}
SEARCHED = {"Model", "Optimizer", "LearningRate"}
TUNED = {
    "BatchSize": "StaticHyperParameters.batch_size",
    "Epochs": "StaticHyperParameters.epochs",
    "ImageSize": "StaticHyperParameters.image_size",
    "Augmentation": "StaticHyperParameters.augmentation",
    "CodeRevision": "StaticHyperParameters.revision",
    "InstanceType": "ResourceConfig.InstanceType",
    "InstanceCount": "ResourceConfig.InstanceCount",
}


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def definition(name: str) -> dict[str, Any]:
    return read_golden(name)


def test_the_definition_contains_no_date_or_time(name: str) -> None:
    text = (GOLDEN / name).read_text()
    assert re.findall(r"20[2-9]\d-(?!12-01)\d\d-\d\d|\b1[6-9]\d{8,}\b", text) == []


def test_the_definition_matches_the_pipeline_schema(definition: dict[str, Any], name: str) -> None:
    steps = [step.name for step in Definition.model_validate(definition).flat_steps()]
    search = ["Tune"] if "tuning" in name else []
    assert steps == ["Fetch", "Preprocess", *search, "Train", "Evaluate", "Decide", "Register", "Refuse"]


def test_every_parameter_has_a_row_in_the_docs_with_its_default() -> None:
    page = (ROOT / "docs" / "pipeline.md").read_text()
    declared = {one["Name"]: one["DefaultValue"] for one in read_golden("pipeline.json")["Parameters"]}
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page, re.MULTILINE))
    assert rows == {name: str(default) for name, default in declared.items()}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"Parameters.Model"', '"Parameters.Modell"'),
        ('"Steps.Fetch.', '"Steps.Evaluate.'),
        ("PropertyFiles.Verdict", "PropertyFiles.Veredict"),
        ('"OutputName": "evaluation"', '"OutputName": "assessment"'),
        ('"Std:Join"', '"Std:Concat"'),
        ('"P30D"', '"30 days"'),
        ('"Step.THROTTLING"', '"Step.TIRED"'),
    ],
)
def test_an_invalid_definition_is_detected(old: str, new: str) -> None:
    text = (GOLDEN / "pipeline.json").read_text()
    assert old in text
    with pytest.raises(ValidationError):
        Definition.model_validate(json.loads(text.replace(old, new)))


def test_every_request_is_valid_for_sagemaker(definition: dict[str, Any], name: str) -> None:
    sent = requests(definition)
    assert len(sent) == (6 if "tuning" in name else 5)
    assert [problem for kind, request in sent for problem in problems(kind, request)] == []


@pytest.mark.parametrize(
    ("step", "place", "value"),
    [
        ("Fetch", ("AppSpecification", "Arguments"), ["a"]),  # no such member
        ("Fetch", ("AppSpecification", "ContainerArguments"), [1]),  # not a string
        ("Fetch", ("ProcessingResources", "ClusterConfig", "VolumeSizeInGB"), 99999),
        ("Train", ("OutputDataConfig", "S3OutputPath"), "bucket/key"),
        ("Train", ("RoleArn",), "role"),
        ("Train", ("ResourceConfig", "InstanceType"), "ml.huge"),
        ("Register", ("CustomerMetadataProperties", "certificate"), "a, b"),
        ("Register", ("CustomerMetadataProperties", "certificate"), "a" * 257),
        ("Register", ("ModelApprovalStatus",), "Maybe"),
    ],
)
def test_an_invalid_request_is_detected(step: str, place: tuple[str, ...], value: object) -> None:
    definition = read_golden("pipeline.json")
    found = find_step(definition, step)
    arguments = resolved(found["Arguments"], definition)
    assert problems(found["Type"], arguments) == []
    parent = arguments
    for part in place[:-1]:
        parent = parent[part]
    parent[place[-1]] = value
    assert len(problems(found["Type"], arguments)) == 1


def test_every_parameter_reaches_its_container(definition: dict[str, Any], name: str) -> None:
    expected = dict(PARAMETER_PLACES)
    if "tuning" in name:  # the search chooses these values instead
        expected = {key: places for key, places in expected.items() if key not in SEARCHED}
        expected |= {key: expected[key] | {f"Tune TrainingJobDefinition.{place}"} for key, place in TUNED.items()}
    found: dict[str, set[str]] = {parameter["Name"]: set() for parameter in definition["Parameters"]}
    for step in flat(definition["Steps"]):
        arguments = {key: value for key, value in step["Arguments"].items() if key not in ("IfSteps", "ElseSteps")}
        for place, reference in places(arguments, ()):
            if reference.startswith("Parameters."):
                found[reference.removeprefix("Parameters.")].add(f"{step['Name']} {place}")
    assert found == expected


def test_the_training_step_uses_the_result_of_the_search() -> None:
    train = find_step(read_golden("pipeline-tuning.json"), "Train")
    for name in ("model", "optimizer", "learning_rate"):
        choice = {"Get": f"Steps.Tune.BestTrainingJob.TunedHyperParameters['{name}']"}
        assert train["Arguments"]["HyperParameters"][name] == choice


def test_steps_read_the_outputs_of_earlier_steps(definition: dict[str, Any]) -> None:
    steps = {step["Name"]: step["Arguments"] for step in definition["Steps"]}
    prepared = {"Get": "Steps.Preprocess.ProcessingOutputConfig.Outputs['prepared'].S3Output.S3Uri"}
    assert inputs(steps["Preprocess"]) == {
        "fetched": {"Get": "Steps.Fetch.ProcessingOutputConfig.Outputs['fetched'].S3Output.S3Uri"}
    }
    (channel,) = steps["Train"]["InputDataConfig"]
    assert (channel["ChannelName"], channel["DataSource"]["S3DataSource"]["S3Uri"]) == ("data", prepared)
    assert inputs(steps["Evaluate"]) == {
        "run": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
        "data": prepared,
    }


def test_cache_keys_do_not_depend_on_the_execution(definition: dict[str, Any]) -> None:
    keys = {  # docs.aws.amazon.com/sagemaker/latest/dg/pipelines-default-keys.html
        "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
        "Training": (
            *("AlgorithmSpecification", "CheckpointConfig", "Environment", "HyperParameters", "InputDataConfig"),
            *("DebugHookConfig", "DebugRuleConfigurations"),
        ),
        "Tuning": ("HyperParameterTuningJobConfig", "TrainingJobDefinition", "TrainingJobDefinitions"),
    }
    cached = [step for step in definition["Steps"] if "CacheConfig" in step]
    assert [step["Name"] for step in cached if step["Type"] != "Tuning"] == ["Fetch", "Preprocess", "Train"]
    for step in cached:
        held = {key: value for key, value in step["Arguments"].items() if key in keys[step["Type"]]}
        held.get("TrainingJobDefinition", {}).pop("OutputDataConfig", None)  # the only part that is not in the key
        assert [place for place, reference in places(held, ()) if reference.startswith("Execution.")] == []


def test_every_execution_has_its_own_outputs(definition: dict[str, Any]) -> None:
    outputs = []
    for step in definition["Steps"]:
        arguments = step["Arguments"]
        outputs += [
            output["S3Output"]["S3Uri"] for output in arguments.get("ProcessingOutputConfig", {}).get("Outputs", [])
        ]
        for holder in (arguments, arguments.get("TrainingJobDefinition", {})):
            outputs += [holder["OutputDataConfig"]["S3OutputPath"]] if "OutputDataConfig" in holder else []
    texts = [json.dumps(output) for output in outputs]
    assert len(set(texts)) == len(texts) >= 5
    assert all("Execution.PipelineExecutionId" in text for text in texts)


def test_the_step_programs_accept_their_arguments(definition: dict[str, Any]) -> None:
    steps = {
        request["AppSpecification"]["ContainerArguments"][0]: step_parser().parse_args(
            request["AppSpecification"]["ContainerArguments"]
        )
        for kind, request in requests(definition)
        if kind == "Processing"
    }
    assert list(steps) == ["fetch", "preprocess", "evaluate"]
    assert (steps["fetch"].source, steps["fetch"].test_source) == (
        "kaggle:puneet6060/intel-image-classification",
        "none",
    )
    assert (steps["evaluate"].name, steps["evaluate"].threshold) == ("scenes", 0.85)


def test_the_job_accepts_its_hyperparameters(tmp_path: Path) -> None:
    definition = read_golden("pipeline.json")
    file = tmp_path / "hyperparameters.json"
    file.write_text(json.dumps(resolved(find_step(definition, "Train")["Arguments"]["HyperParameters"], definition)))
    given = read_hyperparameters(file)
    assert (given.job.name, given.job.product, given.job.revision) == ("scenes", "run", "unknown")
    training = given.to_training(Path("data"), Path("output"), None)
    assert (training.model, training.optimizer, training.learning_rate) == ("mobilenetv2_100", "adamw", 0.003)
    assert (training.batch_size, training.epochs, training.image_size) == (32, 4, 128)
    assert training.augmentation == "realistic"


def test_the_default_parameters_are_those_of_the_training_package() -> None:
    defaults = {each["Name"]: each["DefaultValue"] for each in read_golden("pipeline.json")["Parameters"]}
    winner = {"Model": "model", "Optimizer": "optimizer", "LearningRate": "learning_rate"}
    assert {ours: defaults[ours] for ours in winner} == {ours: read_winner()[theirs] for ours, theirs in winner.items()}
    fields = {"Epochs": "epochs", "BatchSize": "batch_size"}
    for ours, theirs in fields.items():
        assert defaults[ours] == TrainingConfiguration.model_fields[theirs].default


def test_the_search_has_the_ranges_of_the_training_package() -> None:
    tune = find_step(read_golden("pipeline-tuning.json"), "Tune")
    ranges = tune["Arguments"]["HyperParameterTuningJobConfig"]["ParameterRanges"]
    own: argparse.Namespace = _parser().parse_args(["tune", "--models", "m", "--output", "o"])
    choices = {each["Name"]: tuple(each["Values"]) for each in ranges["CategoricalParameterRanges"]}
    assert choices["optimizer"] == own.optimizers
    assert set(choices) == {"model", "optimizer"}
    (rate,) = ranges["ContinuousParameterRanges"]
    assert (rate["Name"], rate["ScalingType"]) == ("learning_rate", "Logarithmic")
    assert (float(rate["MinValue"]), float(rate["MaxValue"])) == (min(own.learning_rates), max(own.learning_rates))


def test_the_metric_pattern_matches_the_output_of_the_job() -> None:
    train = find_step(read_golden("pipeline.json"), "Train")
    (metric,) = train["Arguments"]["AlgorithmSpecification"]["MetricDefinitions"]
    job = (ROOT / "training/driftserve_training/job/job.py").read_text()
    assert 'f"epoch={epoch} val_accuracy={val_accuracy:.4f}"' in job
    assert re.findall(metric["Regex"], "epoch=12 val_accuracy=0.8883\n") == ["0.8883"]
