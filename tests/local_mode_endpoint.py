"""A program that creates, invokes and deletes an endpoint in the SageMaker SDK's local mode.

It runs in .venv-pipeline, which has the SDK, and does not import driftserve. It writes a JSON line with the endpoint's
status to stdout, then one line for each request on stdin, `{"body": BASE64, "content_type": ...}`. At the end of stdin
it deletes the endpoint. All other output, also the container's log, goes to stderr.
"""

import argparse
import base64
import json
import sys
from typing import TextIO

NAME = "driftserve"
# Passed to the session, so that the user's own configuration is ignored and no telemetry goes to AWS.
SDK_CONFIG = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", required=True)
    parser.add_argument("--model-data-url", required=True, help="file:///DIRECTORY/model.tar.gz")
    parser.add_argument("--port", type=int, required=True, help="port of the endpoint on this host")
    parser.add_argument("--root", required=True, help="folder for local mode's directories")
    parser.add_argument("--label", required=True, help="label of the container, to find it")
    serve(parser.parse_args())


def serve(arguments: argparse.Namespace) -> None:
    """Create the endpoint, send it the requests from stdin, and always delete it."""
    # Not at the top: pytest imports this file for doctests, without the SDK.
    from sagemaker.core.local import LocalSession

    answers, sys.stdout = sys.stdout, sys.stderr  # local mode prints the container's log to stdout
    session = LocalSession(sagemaker_config=SDK_CONFIG)
    session.config = {
        "local": {
            "serving_port": arguments.port,
            "container_root": arguments.root,
            "container_config": {"labels": [arguments.label]},
        }
    }
    client = session.sagemaker_client
    container = {"Image": arguments.image, "ModelDataUrl": arguments.model_data_url, "Environment": {}}
    variant = {"VariantName": "AllTraffic", "ModelName": NAME, "InitialInstanceCount": 1, "InstanceType": "local"}
    client.create_model(ModelName=NAME, PrimaryContainer=container)
    client.create_endpoint_config(EndpointConfigName=NAME, ProductionVariants=[variant])
    try:
        client.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
        _write(answers, {"status": client.describe_endpoint(EndpointName=NAME)["EndpointStatus"]})
        for line in sys.stdin:
            request = json.loads(line)
            response = session.sagemaker_runtime_client.invoke_endpoint(
                EndpointName=NAME, Body=base64.b64decode(request["body"]), ContentType=request["content_type"]
            )
            _write(
                answers,
                {
                    "status": response["ResponseMetadata"]["HTTPStatusCode"],
                    "content_type": response["ContentType"],
                    "body": base64.b64encode(response["Body"].read()).decode(),
                },
            )
    finally:
        client.delete_endpoint(EndpointName=NAME)


def _write(stream: TextIO, answer: dict[str, object]) -> None:
    stream.write(json.dumps(answer) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
