"""Step Register: register a version in a run without SageMaker, where the step RegisterModel is not available."""

import argparse
import json

from driftserve_pipeline.registry.registration import Registration, register
from driftserve_pipeline.steps.aws import client
from driftserve_pipeline.steps.step import Folders, Step
from driftserve_pipeline.steps.verdict import read_verdict


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--group", required=True, help="model package group; created if it does not exist")
    parser.add_argument("--image", required=True, help="Docker image that serves the model")
    parser.add_argument("--model-data-url", required=True, help="location of model.tar.gz")
    parser.add_argument("--evaluation-url", required=True, help="location of evaluation.json")
    parser.add_argument("--revision", required=True, help="revision of the code")
    parser.add_argument("--execution", required=True, help="ID of the execution that made the model")


def _run(options: argparse.Namespace, folders: Folders) -> str:
    verdict = read_verdict(folders.input("evaluation"))
    registration = Registration(
        group=options.group,
        image=options.image,
        model_data_url=options.model_data_url,
        evaluation_url=options.evaluation_url,
        metadata=dict(verdict.metadata) | {"revision": options.revision, "execution": options.execution},
    )
    return json.dumps({"model_package": register(client("sagemaker"), registration)})


REGISTER = Step("register the model, pending approval", _add_arguments, _run)
