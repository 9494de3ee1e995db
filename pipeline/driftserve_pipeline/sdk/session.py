"""The session that steps are drawn in: it knows a region and a bucket, and asks AWS nothing."""

import logging
import os
import warnings
from typing import Any

from driftserve.errors import PipelineError
from driftserve_pipeline.settings import PipelineSettings

# The SDK's type, known only where it is installed.
Session = Any

# Given, so that no file of the machine, which anybody may have in ~/.config, changes what is built.
CONFIGURATION = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


def open_session(settings: PipelineSettings) -> Session:
    """A session that builds pipelines without a network and without an account.

    Raises:
        PipelineError: the SDK is not installed.
    """
    _prepare(settings)
    boto3, pipeline_session = _imported()

    class OfflineSession(pipeline_session):  # type: ignore[misc, valid-type]
        """The SDK's, which else would look for the bucket, or make it, and upload what it finds."""

        def default_bucket(self) -> str:
            return settings.bucket

        def upload_data(self, *_: object, **__: object) -> str:
            raise PipelineError("expected steps whose code is in their image, got a file to upload; leave it out")

        upload_string_as_file_body = upload_data

    # Keys that are none: clients are made, and none is called.
    boto_session = boto3.Session(
        region_name=settings.region,
        aws_access_key_id="offline",
        aws_secret_access_key="offline",  # noqa: S106
    )
    session: Session = OfflineSession(
        boto_session=boto_session, default_bucket=settings.bucket, sagemaker_config=CONFIGURATION
    )
    return session


def _prepare(settings: PipelineSettings) -> None:
    """Keep the SDK from asking IAM whether the role may do what it has to, and its warnings to itself."""
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"  # iam_role_resolver.py:702; no constructor takes it
    os.environ.setdefault(
        "AWS_DEFAULT_REGION", settings.region
    )  # it makes a client while it is imported: air_hub.py:36
    warnings.filterwarnings("ignore", module=r"sagemaker\.")
    warnings.filterwarnings("ignore", message="Running within a PipelineSession")
    logging.getLogger("sagemaker").setLevel(logging.ERROR)


def _imported() -> tuple[Any, Any]:
    """boto3 and the SDK's session; all that steps are drawn with is imported after it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        import boto3
        import sagemaker.mlops.workflow.model_step
        import sagemaker.train.tuner  # noqa: F401
        from sagemaker.core.workflow.pipeline_context import PipelineSession
    except ImportError as error:
        raise PipelineError(
            "expected the SageMaker SDK, got an environment without it; "
            "`make install-pipeline` makes .venv-pipeline, whose driftserve-pipeline has it"
        ) from error
    root.handlers[:] = handlers  # it has called logging.basicConfig, and every library would be heard: _metrics.py:34
    root.setLevel(level)
    return boto3, PipelineSession
