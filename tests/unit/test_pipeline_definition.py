"""The pipeline's definition: rendered where the SageMaker SDK is; what was rendered then is checked everywhere."""

import argparse
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from definition_schema import Definition
from driftserve_pipeline.__main__ import main
from driftserve_pipeline.steps.__main__ import _parser as step_parser
from driftserve_training.__main__ import _parser
from driftserve_training.configuration import TrainingConfiguration
from driftserve_training.job.hyperparameters import read_hyperparameters
from driftserve_training.parameters import read_winner
from request_shapes import OPERATIONS, problems
from servers import ROOT

VARIANTS = {"pipeline.json": (), "pipeline-tuning.json": ("--tuning",)}
GOLDEN = ROOT / "tests" / "golden"
# Ends at the first look at a network, whatever would have been made of the error.
OFFLINE = """
import json, os, sys
sys.addaudithook(lambda event, _: os._exit(9) if event in {"socket.connect", "socket.getaddrinfo"} else None)
from driftserve_pipeline.__main__ import main
for variables, arguments in json.loads(sys.argv[1]):
    os.environ.update(variables)
    if main(arguments):
        sys.exit(1)
"""
# Every setting that a definition may do without.
PRIVATE = {
    "SUBNETS": "subnet-1,subnet-2",
    "SECURITY_GROUPS": "sg-1",
    "KMS_KEY": "alias/driftserve",
    "WEIGHTS": "s3://bucket/weights",
    "SPOT": "false",
    "CACHE_DAYS": "0",
    "TAGS": "team=vision,stage=test",
    "ROBUSTNESS_IMAGES": "0",
    "TRAINING_IMAGE": f"registry/driftserve@sha256:{'0' * 64}",
}
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


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What two processes write at once, without keys, a home or a network: the variants, and one with all settings."""
    python = ROOT / os.environ.get("VENV_PIPELINE", ".venv-pipeline") / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python} is missing: `make install-pipeline` makes the environment of the SageMaker SDK")
    folder = tmp_path_factory.mktemp("rendered")
    private = {f"DRIFTSERVE_PIPELINE_{name}": value for name, value in PRIVATE.items()}
    calls = [({}, flags, name) for name, flags in VARIANTS.items()]
    work = [calls[:1], [*calls[1:], (private, ("--tuning",), "private.json")]]
    running = [_rendering(python, folder, str(seed), part) for seed, part in enumerate(work)]
    for process in running:
        said, _ = process.communicate(timeout=200)
        assert (process.returncode, said) == (0, "")
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def _rendering(
    python: Path, folder: Path, hash_seed: str, calls: Sequence[tuple[dict[str, str], Sequence[str], str]]
) -> "subprocess.Popen[str]":
    work = [(variables, ["render", *flags, "--output", str(folder / name)]) for variables, flags, name in calls]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("handler", "pipeline")),
        "PYTHONHASHSEED": hash_seed,
    }
    return subprocess.Popen(
        [str(python), "-c", OFFLINE, json.dumps(work)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(params=VARIANTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def definition(name: str) -> dict[str, Any]:
    return _read(name)


def test_the_definition_is_the_one_that_was_reviewed(rendered: dict[str, bytes], name: str) -> None:
    flags = "".join(f" {flag}" for flag in VARIANTS[name])
    command = f".venv-pipeline/bin/driftserve-pipeline render{flags} --output tests/golden/{name}"
    assert rendered[name] == (GOLDEN / name).read_bytes(), f"if that is meant: `{command}`, and read the difference"


@pytest.mark.skipif(find_spec("sagemaker") is not None, reason="this environment has the SageMaker SDK")
def test_without_the_sdk_rendering_says_what_brings_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render"]) == 2
    assert re.fullmatch(
        r"driftserve-pipeline: expected the SageMaker SDK, .*`make install-pipeline`.*\n", capsys.readouterr().err
    )


def test_nothing_in_the_definition_tells_when_it_was_made(name: str) -> None:
    text = (GOLDEN / name).read_text()
    assert re.findall(r"20[2-9]\d-(?!12-01)\d\d-\d\d|\b1[6-9]\d{8,}\b", text) == []


def test_the_definition_is_of_the_pipeline_language(definition: dict[str, Any], name: str) -> None:
    steps = [step.name for step in Definition.model_validate(definition).flat_steps()]
    search = ["Tune"] if "tuning" in name else []
    assert steps == ["Fetch", "Preprocess", *search, "Train", "Evaluate", "Decide", "Register", "Refuse"]


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
def test_a_definition_that_leads_nowhere_is_found(old: str, new: str) -> None:
    text = (GOLDEN / "pipeline.json").read_text()
    assert old in text
    with pytest.raises(ValidationError):
        Definition.model_validate(json.loads(text.replace(old, new)))


def test_sagemaker_would_take_every_request(definition: dict[str, Any], name: str) -> None:
    requests = _requests(definition)
    assert len(requests) == (6 if "tuning" in name else 5)
    assert [problem for kind, request in requests for problem in problems(kind, request)] == []


def test_every_setting_reaches_the_requests(rendered: dict[str, bytes]) -> None:
    definition = json.loads(rendered["private.json"])
    Definition.model_validate(definition)
    requests = _requests(definition)
    assert [problem for kind, request in requests for problem in problems(kind, request)] == []
    assert [step["Name"] for step in _flat(definition["Steps"]) if "CacheConfig" in step] == []
    assert "CheckpointConfig" in _step(definition, "Train")["Arguments"]
    network = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1", "subnet-2"]}
    tags = [{"Key": "team", "Value": "vision"}, {"Key": "stage", "Value": "test"}]
    for kind, request in requests[:-1]:  # the last one registers
        assert request["Tags"] == tags
        if kind == "Processing":
            assert request["NetworkConfig"]["VpcConfig"] == network
            assert request["ProcessingOutputConfig"]["KmsKeyId"] == "alias/driftserve"
            assert request["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == "alias/driftserve"
            assert request["AppSpecification"]["ImageUri"].startswith("registry/driftserve@sha256:")
        else:
            job = request if kind == "Training" else request["TrainingJobDefinition"]
            assert job["VpcConfig"] == network
            assert job["OutputDataConfig"]["KmsKeyId"] == "alias/driftserve"
            assert not job.get("EnableManagedSpotTraining")
            assert "MaxWaitTimeInSeconds" not in job["StoppingCondition"]
            assert [channel["ChannelName"] for channel in job["InputDataConfig"]] == ["data", "weights"]


@pytest.mark.parametrize(
    ("step", "place", "value"),
    [
        ("Fetch", ("AppSpecification", "Arguments"), ["a"]),  # no such member
        ("Fetch", ("AppSpecification", "ContainerArguments"), [1]),  # no text
        ("Fetch", ("ProcessingResources", "ClusterConfig", "VolumeSizeInGB"), 99999),
        ("Train", ("OutputDataConfig", "S3OutputPath"), "bucket/key"),
        ("Train", ("RoleArn",), "role"),
        ("Train", ("ResourceConfig", "InstanceType"), "ml.huge"),
        ("Register", ("CustomerMetadataProperties", "certificate"), "a, b"),
        ("Register", ("CustomerMetadataProperties", "certificate"), "a" * 257),
        ("Register", ("ModelApprovalStatus",), "Maybe"),
    ],
)
def test_what_sagemaker_would_refuse_is_found(step: str, place: tuple[str, ...], value: object) -> None:
    definition = _read("pipeline.json")
    found = _step(definition, step)
    arguments = _resolved(found["Arguments"], definition)
    assert problems(found["Type"], arguments) == []
    parent = arguments
    for part in place[:-1]:
        parent = parent[part]
    parent[place[-1]] = value
    assert len(problems(found["Type"], arguments)) == 1


def test_every_parameter_reaches_its_container(definition: dict[str, Any], name: str) -> None:
    expected = dict(PARAMETER_PLACES)
    if "tuning" in name:  # what a search chooses is no parameter
        expected = {key: places for key, places in expected.items() if key not in SEARCHED}
        expected |= {key: expected[key] | {f"Tune TrainingJobDefinition.{place}"} for key, place in TUNED.items()}
    found: dict[str, set[str]] = {parameter["Name"]: set() for parameter in definition["Parameters"]}
    for step in _flat(definition["Steps"]):
        arguments = {key: value for key, value in step["Arguments"].items() if key not in ("IfSteps", "ElseSteps")}
        for place, reference in _places(arguments, ()):
            if reference.startswith("Parameters."):
                found[reference.removeprefix("Parameters.")].add(f"{step['Name']} {place}")
    assert found == expected


def test_the_searchs_choice_reaches_train() -> None:
    train = _step(_read("pipeline-tuning.json"), "Train")
    for name in ("model", "optimizer", "learning_rate"):
        choice = {"Get": f"Steps.Tune.BestTrainingJob.TunedHyperParameters['{name}']"}
        assert train["Arguments"]["HyperParameters"][name] == choice


def test_steps_read_what_the_ones_before_them_left(definition: dict[str, Any]) -> None:
    steps = {step["Name"]: step["Arguments"] for step in definition["Steps"]}
    prepared = {"Get": "Steps.Preprocess.ProcessingOutputConfig.Outputs['prepared'].S3Output.S3Uri"}
    assert _inputs(steps["Preprocess"]) == {
        "fetched": {"Get": "Steps.Fetch.ProcessingOutputConfig.Outputs['fetched'].S3Output.S3Uri"}
    }
    (channel,) = steps["Train"]["InputDataConfig"]
    assert (channel["ChannelName"], channel["DataSource"]["S3DataSource"]["S3Uri"]) == ("data", prepared)
    assert _inputs(steps["Evaluate"]) == {
        "run": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
        "data": prepared,
    }


def test_nothing_that_a_cache_key_holds_tells_one_execution_from_another(definition: dict[str, Any]) -> None:
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
        held.get("TrainingJobDefinition", {}).pop("OutputDataConfig", None)  # the one part of it that is not
        assert [place for place, reference in _places(held, ()) if reference.startswith("Execution.")] == []


def test_no_execution_writes_where_another_does(definition: dict[str, Any]) -> None:
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


def test_the_step_programs_take_their_arguments(definition: dict[str, Any]) -> None:
    steps = {
        request["AppSpecification"]["ContainerArguments"][0]: step_parser().parse_args(
            request["AppSpecification"]["ContainerArguments"]
        )
        for kind, request in _requests(definition)
        if kind == "Processing"
    }
    assert list(steps) == ["fetch", "preprocess", "evaluate"]
    assert (steps["fetch"].source, steps["fetch"].test_source) == (
        "kaggle:puneet6060/intel-image-classification",
        "none",
    )
    assert (steps["evaluate"].name, steps["evaluate"].threshold) == ("scenes", 0.85)


def test_the_job_takes_its_hyperparameters(tmp_path: Path) -> None:
    definition = _read("pipeline.json")
    file = tmp_path / "hyperparameters.json"
    file.write_text(json.dumps(_resolved(_step(definition, "Train")["Arguments"]["HyperParameters"], definition)))
    given = read_hyperparameters(file)
    assert (given.job.name, given.job.product, given.job.revision) == ("scenes", "run", "unknown")
    training = given.to_training(Path("data"), Path("output"), None)
    assert (training.model, training.optimizer, training.learning_rate) == ("mobilenetv2_100", "adamw", 0.003)
    assert (training.batch_size, training.epochs, training.image_size) == (32, 4, 128)
    assert training.augmentation == "realistic"


def test_the_defaults_are_trainings_own() -> None:
    defaults = {each["Name"]: each["DefaultValue"] for each in _read("pipeline.json")["Parameters"]}
    winner = {"Model": "model", "Optimizer": "optimizer", "LearningRate": "learning_rate"}
    assert {ours: defaults[ours] for ours in winner} == {ours: read_winner()[theirs] for ours, theirs in winner.items()}
    fields = {"Epochs": "epochs", "BatchSize": "batch_size"}
    for ours, theirs in fields.items():
        assert defaults[ours] == TrainingConfiguration.model_fields[theirs].default


def test_the_search_has_the_ranges_of_trainings_own() -> None:
    tune = _step(_read("pipeline-tuning.json"), "Tune")
    ranges = tune["Arguments"]["HyperParameterTuningJobConfig"]["ParameterRanges"]
    own: argparse.Namespace = _parser().parse_args(["tune", "--models", "m", "--output", "o"])
    choices = {each["Name"]: tuple(each["Values"]) for each in ranges["CategoricalParameterRanges"]}
    assert choices["optimizer"] == own.optimizers
    assert set(choices) == {"model", "optimizer"}
    (rate,) = ranges["ContinuousParameterRanges"]
    assert (rate["Name"], rate["ScalingType"]) == ("learning_rate", "Logarithmic")
    assert (float(rate["MinValue"]), float(rate["MaxValue"])) == (min(own.learning_rates), max(own.learning_rates))


def test_the_metric_is_read_out_of_what_the_job_says() -> None:
    train = _step(_read("pipeline.json"), "Train")
    (metric,) = train["Arguments"]["AlgorithmSpecification"]["MetricDefinitions"]
    job = (ROOT / "training/driftserve_training/job/job.py").read_text()
    assert 'f"epoch={epoch} val_accuracy={val_accuracy:.4f}"' in job
    assert re.findall(metric["Regex"], "epoch=12 val_accuracy=0.8883\n") == ["0.8883"]


def _read(name: str) -> dict[str, Any]:
    definition: dict[str, Any] = json.loads((GOLDEN / name).read_bytes())
    return definition


def _step(definition: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (step for step in _flat(definition["Steps"]) if step["Name"] == name)
    return found


def _flat(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        yield from _flat(step["Arguments"].get("IfSteps", []) + step["Arguments"].get("ElseSteps", []))


def _places(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Where expressions stand, and what they get; an argument after a flag is named by the flag."""
    if isinstance(value, list):
        for number, part in enumerate(value):
            before = str(value[number - 1]) if number else ""
            yield from _places(part, (before,) if before.startswith("--") else (*place, str(number)))
    elif isinstance(value, dict) and "Get" in value:
        yield ".".join(place), value["Get"]
    elif isinstance(value, dict) and "Std:Join" in value:
        for part in value["Std:Join"]["Values"]:
            yield from _places(part, place)
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _places(part, (*place, name))


def _requests(definition: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Of each step that makes one, its type and what it would send."""
    return [
        (step["Type"], _resolved(step["Arguments"], definition))
        for step in _flat(definition["Steps"])
        if step["Type"] in OPERATIONS
    ]


def _inputs(arguments: dict[str, Any]) -> dict[str, Any]:
    return {each["InputName"]: each["S3Input"]["S3Uri"] for each in arguments["ProcessingInputs"]}


def _resolved(value: Any, definition: dict[str, Any]) -> Any:
    """A value as a job would be given it, in an execution of the defaults."""
    if isinstance(value, list):
        return [_resolved(part, definition) for part in value]
    if not isinstance(value, dict):
        return value
    if "Get" in value:
        return _got(value["Get"], definition)
    if "Std:Join" in value:
        return value["Std:Join"]["On"].join(str(_resolved(part, definition)) for part in value["Std:Join"]["Values"])
    if "Std:JsonGet" in value:
        return "short: 3 of 1000 false alarms" if value["Std:JsonGet"]["Path"].endswith("certificate") else "0.9"
    return {name: _resolved(part, definition) for name, part in value.items()}


def _got(reference: str, definition: dict[str, Any]) -> Any:
    kind, name = reference.split(".", 1)
    if kind == "Parameters":
        return {each["Name"]: each["DefaultValue"] for each in definition["Parameters"]}[name]
    if reference.endswith(("S3Uri", "S3ModelArtifacts")):
        return "s3://bucket/key"
    return "abcdefghijkl"
