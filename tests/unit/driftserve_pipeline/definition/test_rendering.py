"""Rendering, in the environment that has the SageMaker SDK."""

import json
import os
import re
import subprocess
from importlib.util import find_spec

import pytest

from checkout import ROOT
from driftserve_pipeline.__main__ import main
from driftserve_pipeline.steps.__main__ import _parser as step_parser
from golden_pipelines import GOLDEN, VARIANTS, find_step, flat, inputs, requests, resolved
from pipeline_definition_schema import Definition
from sagemaker_request_shapes import problems

# Ends at the first look at a network, whatever would have been made of the error.
OFFLINE = """
import json, os, pathlib, sys
sys.addaudithook(lambda event, _: os._exit(9) if event in {"socket.connect", "socket.getaddrinfo"} else None)
from driftserve_pipeline.__main__ import main
for variables, arguments in json.loads(sys.argv[1]):
    os.environ.update(variables)
    if main(arguments):
        sys.exit(1)
from driftserve_pipeline.definition.blueprint import draw
from driftserve_pipeline.definition.pipeline import assemble
from driftserve_pipeline.definition.registration import register_from_container
from driftserve_pipeline.definition.rendering import normalise
from driftserve_pipeline.definition.tuning import tune_in_container
from driftserve_pipeline.sdk.session import offline, open_session
from driftserve_pipeline.settings import read_settings
settings = read_settings(os.environ)
with offline(settings):
    pipeline = assemble(draw(settings, open_session(settings)), tune_in_container, register_from_container)
    pathlib.Path(sys.argv[2]).write_text(normalise(pipeline.definition()))
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
    "TUNING": "true",
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a process writes without keys, a home or a network: the variants, one with all settings, one for local mode.

    That it is the same in every process the golden files show, which another one has written.
    """
    python = ROOT / os.environ.get("VENV_PIPELINE", ".venv-pipeline") / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python} is missing: `make install-pipeline` makes the environment of the SageMaker SDK")
    folder = tmp_path_factory.mktemp("rendered")
    private = {f"DRIFTSERVE_PIPELINE_{name}": value for name, value in PRIVATE.items()}
    calls = [({}, flags, name) for name, flags in VARIANTS.items()] + [(private, (), "private.json")]
    work = [(variables, ["render", *flags, "--output", str(folder / name)]) for variables, flags, name in calls]
    done = subprocess.run(
        [str(python), "-c", OFFLINE, json.dumps(work), str(folder / "containers.json")],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("handler", "pipeline")),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=200,
    )
    assert (done.returncode, done.stdout) == (0, "")
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


@pytest.mark.parametrize("name", VARIANTS)
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


def test_every_setting_reaches_the_requests(rendered: dict[str, bytes]) -> None:
    definition = json.loads(rendered["private.json"])
    Definition.model_validate(definition)
    sent = requests(definition)
    assert [problem for kind, request in sent for problem in problems(kind, request)] == []
    assert [step["Name"] for step in flat(definition["Steps"]) if "CacheConfig" in step] == []
    assert "CheckpointConfig" in find_step(definition, "Train")["Arguments"]
    network = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1", "subnet-2"]}
    tags = [{"Key": "team", "Value": "vision"}, {"Key": "stage", "Value": "test"}]
    for kind, request in sent[:-1]:  # the last one registers
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


def test_in_containers_the_same_search_is_trainings_own(rendered: dict[str, bytes]) -> None:
    definition, sagemakers = json.loads(rendered["containers.json"]), json.loads(rendered["private.json"])
    Definition.model_validate(definition)
    tune, train = find_step(definition, "Tune"), find_step(definition, "Train")
    assert (tune["Type"], problems("Processing", resolved(tune["Arguments"], definition))) == ("Processing", [])
    job = resolved(find_step(sagemakers, "Tune")["Arguments"], sagemakers)
    config, training = job["HyperParameterTuningJobConfig"], job["TrainingJobDefinition"]
    given = step_parser().parse_args(resolved(tune["Arguments"], definition)["AppSpecification"]["ContainerArguments"])
    ranges = config["ParameterRanges"]
    assert given.choice == [(each["Name"], ",".join(each["Values"])) for each in ranges["CategoricalParameterRanges"]]
    assert given.range == [
        (each["Name"], f"{each['MinValue']},{each['MaxValue']}") for each in ranges["ContinuousParameterRanges"]
    ]
    assert int(given.trials) == config["ResourceLimits"]["MaxNumberOfTrainingJobs"]
    assert dict(given.fixed) == training["StaticHyperParameters"]
    assert list(inputs(tune["Arguments"])) == [channel["ChannelName"] for channel in training["InputDataConfig"]]
    for name in ("model", "optimizer", "learning_rate"):
        file = {"Get": "Steps.Tune.PropertyFiles.Best"}
        assert train["Arguments"]["HyperParameters"][name] == {"Std:JsonGet": {"PropertyFile": file, "Path": name}}
