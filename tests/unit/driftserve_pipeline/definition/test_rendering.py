"""Tests of rendering. A process in the environment of the SageMaker SDK renders all variants."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from checkout import ROOT
from driftserve_demo.local_aws import local_aws
from driftserve_pipeline.__main__ import main
from driftserve_pipeline.steps.__main__ import _parser as step_parser
from golden_pipelines import GOLDEN, VARIANTS, find_step, flat, inputs, requests, resolved
from pipeline_definition_schema import Definition
from sagemaker_request_shapes import problems

# Exits at the first network access, because a raised error could be caught. Only `diff`, at the end, may use one port.
PROGRAM = """
import contextlib, io, json, os, pathlib, sys
work = json.loads(sys.argv[1])
open_ports = set()
def watch(event, arguments):
    address = {"socket.connect": arguments[1:2], "socket.getaddrinfo": (arguments[:2],)}.get(event)
    if address is not None and address[0] not in open_ports:
        os._exit(9)
sys.addaudithook(watch)

# The SDK validates the schema of its settings about 60 times per rendering, 5 of 6 seconds. Once is enough.
from jsonschema import Draft202012Validator
check, proven = Draft202012Validator.check_schema, {}
def check_once(schema, *rest, **options):
    if id(schema) not in proven:
        check(schema, *rest, **options)
        proven[id(schema)] = schema
Draft202012Validator.check_schema = check_once

from driftserve_pipeline.__main__ import main
before = dict(os.environ)
for variables, arguments in work["render"]:
    os.environ.clear()
    os.environ.update(before | variables)
    if main(arguments):
        sys.exit(1)
from driftserve_pipeline.definition.blueprint import make_blueprint
from driftserve_pipeline.definition.pipeline import assemble
from driftserve_pipeline.definition.registration import register_from_container
from driftserve_pipeline.definition.rendering import normalise
from driftserve_pipeline.definition.tuning import tune_in_container
from driftserve_pipeline.sdk.session import offline, open_session
from driftserve_pipeline.settings import read_settings
settings = read_settings(os.environ)
with offline(settings):
    pipeline = assemble(make_blueprint(settings, open_session(settings)), tune_in_container, register_from_container)
    pathlib.Path(work["containers"]).write_text(normalise(pipeline.definition()))

open_ports.add(("127.0.0.1", work["port"]))
os.environ.clear()
os.environ.update(before | work["account"])
with contextlib.redirect_stdout(io.StringIO()) as said:
    status = main(["diff", "--tuning"])
pathlib.Path(work["diff"]).write_text(json.dumps([status, said.getvalue()]))
"""
# Every optional setting.
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
    """Definitions that one process renders without credentials or network: all variants, all settings, local mode.

    Another process wrote the golden files, so equality with them shows that rendering is deterministic. At the end the
    process compares the variant with a search with an account that contains it.
    """
    python = ROOT / os.environ.get("VENV_PIPELINE", ".venv-pipeline") / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python} is missing: run `make install-pipeline`")
    folder = tmp_path_factory.mktemp("rendered")
    private = {f"DRIFTSERVE_PIPELINE_{name}": value for name, value in PRIVATE.items()}
    calls = [({}, flags, name) for name, flags in VARIANTS.items()] + [(private, (), "private.json")]
    with local_aws() as account:
        _deploy(account, (GOLDEN / "pipeline-tuning.json").read_text())
        work = {
            "render": [
                (variables, ["render", *flags, "--output", str(folder / name)]) for variables, flags, name in calls
            ],
            "containers": str(folder / "containers.json"),
            "diff": str(folder / "diff.json"),
            "account": {**account, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"},
            "port": urlsplit(account["AWS_ENDPOINT_URL"]).port,
        }
        done = subprocess.run(
            [str(python), "-c", PROGRAM, json.dumps(work)],
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


def _deploy(account: Mapping[str, str], definition: str) -> None:
    session = boto3.Session(
        account["AWS_ACCESS_KEY_ID"], account["AWS_SECRET_ACCESS_KEY"], region_name=account["AWS_DEFAULT_REGION"]
    )
    client = session.client("sagemaker", endpoint_url=account["AWS_ENDPOINT_URL"], config=Config(proxies={}))
    role = "arn:aws:iam::111122223333:role/driftserve-pipeline"
    client.create_pipeline(PipelineName="driftserve", PipelineDefinition=definition, RoleArn=role)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_rendered_definition_equals_the_golden_one(rendered: dict[str, bytes], name: str) -> None:
    flags = "".join(f" {flag}" for flag in VARIANTS[name])
    command = f".venv-pipeline/bin/driftserve-pipeline render{flags} --output tests/golden/{name}"
    assert rendered[name] == (GOLDEN / name).read_bytes(), f"if intended, run `{command}` and review the diff"


def test_the_variant_with_a_search_is_rendered_and_compared_with_the_account(
    rendered: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads(rendered["diff.json"]) == [0, ""]
    with pytest.raises(SystemExit, match="2"):
        main(["upsert", "--tuning", "--definition", str(GOLDEN / "pipeline-tuning.json")])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("sagemaker") is not None, reason="this environment has the SageMaker SDK")
def test_without_the_sdk_rendering_says_how_to_install_it(capsys: pytest.CaptureFixture[str]) -> None:
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
    for kind, request in sent[:-1]:  # the last request registers the model
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


def test_local_mode_runs_the_same_search_with_the_training_package(rendered: dict[str, bytes]) -> None:
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
