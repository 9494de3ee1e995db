"""Small pipeline definitions for tests, in the form that the SageMaker SDK renders. Steps are small Python programs."""

import json
from pathlib import Path
from typing import Any

PYTHON = "/opt/venv/bin/python"
RUN = {"Std:Join": {"On": "/", "Values": ["s3://bucket/p/executions", {"Get": "Execution.PipelineExecutionId"}]}}
Tree = dict[str, Any]


def below_run(name: str) -> Tree:
    return {"Std:Join": {"On": "/", "Values": [*RUN["Std:Join"]["Values"], name]}}


def get(path: str) -> Tree:
    return {"Get": path}


def json_get(step: str, file: str, path: str) -> Tree:
    return {"Std:JsonGet": {"PropertyFile": get(f"Steps.{step}.PropertyFiles.{file}"), "Path": path}}


def processing(
    name: str,
    program: Path,
    *arguments: Any,
    inputs: dict[str, Any] | None = None,
    files: dict[str, str] | None = None,
) -> Tree:
    """Return a Processing step with an output `out` that contains its property files."""
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "ProcessingResources": {
                "ClusterConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}
            },
            "AppSpecification": {
                "ImageUri": "image",
                "ContainerEntrypoint": [PYTHON, str(program)],
                **({"ContainerArguments": list(arguments)} if arguments else {}),
            },
            "RoleArn": "arn:aws:iam::111122223333:role/r",
            "ProcessingInputs": [
                {
                    "InputName": channel,
                    "AppManaged": False,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/input/{channel}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for channel, uri in (inputs or {}).items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": "out",
                        "AppManaged": False,
                        "S3Output": {
                            "S3Uri": below_run(name.lower()),
                            "LocalPath": "/opt/ml/processing/output/out",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
        },
        "PropertyFiles": [
            {"PropertyFileName": key, "OutputName": "out", "FilePath": path} for key, path in (files or {}).items()
        ],
    }


def output_of(step: str) -> Tree:
    return get(f"Steps.{step}.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri")


def training(name: str, program: Path, channels: dict[str, Tree], **hyperparameters: Any) -> Tree:
    """Return a Training step that runs a program in place of the image's `train`."""
    return {
        "Name": name,
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {
                "TrainingImage": "image",
                "TrainingInputMode": "File",
                "ContainerEntrypoint": [PYTHON, str(program)],
                "MetricDefinitions": [
                    {"Name": "val_accuracy", "Regex": r"epoch=\d+ val_accuracy=([0-9.]+)"},
                ],
            },
            "RoleArn": "arn:aws:iam::111122223333:role/r",
            "OutputDataConfig": {"S3OutputPath": below_run("train")},
            "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            "CheckpointConfig": {"S3Uri": below_run("checkpoints"), "LocalPath": "/opt/ml/checkpoints"},
            "InputDataConfig": [
                {
                    "ChannelName": channel,
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": uri,
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                }
                for channel, uri in channels.items()
            ],
            "HyperParameters": hyperparameters,
        },
    }


def condition(name: str, conditions: list[Tree], if_steps: list[Tree], else_steps: list[Tree]) -> Tree:
    arguments = {"Conditions": conditions, "IfSteps": if_steps, "ElseSteps": else_steps}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def fail(name: str, message: Any) -> Tree:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def registration(name: str, group: str, model: Any, **metadata: Any) -> Tree:
    return {
        "Name": name,
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": group,
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [{"Image": "serving", "ModelDataUrl": model}],
                "SupportedContentTypes": ["image/jpeg"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "CustomerMetadataProperties": metadata,
        },
    }


def definition(*steps: Tree, **parameters: object) -> bytes:
    """Return a definition; each parameter has the type of its default."""
    types = {str: "String", int: "Integer", float: "Float", bool: "Boolean"}
    declared = [
        {"Name": name, "Type": types[type(default)], "DefaultValue": default} for name, default in parameters.items()
    ]
    return json.dumps(
        {"Version": "2020-12-01", "Metadata": {}, "Parameters": declared, "Steps": steps}, indent=2
    ).encode()
