"""Create boto3 clients for step programs."""

import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from driftserve_pipeline.errors import PipelineError

_CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 5})


def client(service: str) -> Any:
    """Return the client of a service, in the region of boto3's settings or of the container.

    Raises:
        PipelineError: no region is set, or another setting is wrong.
    """
    try:
        session = boto3.Session()
        # SageMaker sets the container's region in a variable that boto3 does not read.
        return session.client(service, session.region_name or os.environ.get("AWS_REGION"), config=_CONFIG)
    except (BotoCoreError, ValueError) as error:
        raise PipelineError(f"{service}: boto3 cannot create a client: {error}; set AWS_REGION") from error
