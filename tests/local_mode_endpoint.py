"""An endpoint of the SageMaker SDK's local mode, made, invoked and deleted as it is in an account.

It runs in .venv-pipeline, where the SDK is, and knows nothing of driftserve. On stdout stands a JSON line with the
endpoint's status, then one for each request on stdin, `{"body": BASE64, "content_type": ...}`; at the end of stdin the
endpoint is deleted. All else, the container's log too, goes to stderr.
"""

import argparse
import base64
import json
import sys
from typing import TextIO

NAME = "driftserve"
# By the session, not by a file: a user's own defaults stay out, and nothing is told to AWS.
SDK_CONFIG = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", required=True)
    parser.add_argument("--model-data-url", required=True, help="file:///DIRECTORY/model.tar.gz")
    parser.add_argument("--port", type=int, required=True, help="of the host, where the endpoint answers")
    parser.add_argument("--root", required=True, help="where local mode makes its directories")
    parser.add_argument("--label", required=True, help="of the container, by which it is found")
    serve(parser.parse_args())


def serve(arguments: argparse.Namespace) -> None:
    """Create the endpoint, answer the requests on stdin, delete it whatever happened."""
    from sagemaker.core.local import LocalSession  # pytest, which has no SDK, imports this file for its doctests

    answers, sys.stdout = sys.stdout, sys.stderr  # local mode prints the container's log
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
