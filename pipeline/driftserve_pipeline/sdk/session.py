"""The SDK session in which steps are created. It knows a region and a bucket, and makes no calls to AWS."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PipelineSettings

# A type of the SDK, which may not be installed.
Session = Any

# Passed to the SDK, so that no configuration file in ~/.config changes the definition.
CONFIGURATION = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


@contextmanager
def offline(settings: PipelineSettings) -> Iterator[None]:
    """Context manager in which the SDK can be imported and used without an account, a network or warnings.

    The SDK creates clients of the default session on import (air_hub.py:36) and in a step's constructor (steps.py:594).
    Each client looks for a region and for keys. At the end, the environment variables are restored.
    """
    import boto3

    environment, default_session, disabled = dict(os.environ), boto3.DEFAULT_SESSION, logging.root.manager.disable
    os.environ.update(_without_account(settings.region))
    os.environ.pop("AWS_PROFILE", None)
    boto3.DEFAULT_SESSION = None
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logging.disable(disabled)
        boto3.DEFAULT_SESSION = default_session
        os.environ.clear()
        os.environ.update(environment)


def open_session(settings: PipelineSettings) -> Session:
    """Return a session that records requests and sends none. Use it inside `offline`.

    Raises:
        PipelineError: the SDK is not installed.
    """
    prepare(settings)
    boto3, pipeline_session = imported()

    class OfflineSession(pipeline_session):  # type: ignore[misc, valid-type]
        """A session that does not look for a bucket, create one, or upload files, as the SDK's would."""

        def default_bucket(self) -> str:
            return settings.bucket

        def upload_data(self, *_: object, **__: object) -> str:
            raise PipelineError("expected steps whose code is in their Docker image, got a file to upload; remove it")

        upload_string_as_file_body = upload_data

    session: Session = OfflineSession(
        boto_session=boto3.Session(region_name=settings.region),
        default_bucket=settings.bucket,
        sagemaker_config=CONFIGURATION,
    )
    return session


def prepare(settings: PipelineSettings) -> None:
    """Stop the SDK from checking the role in IAM, and silence its warnings."""
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"  # iam_role_resolver.py:702; no constructor has this option
    os.environ.setdefault("AWS_DEFAULT_REGION", settings.region)  # the import creates a client: air_hub.py:36
    warnings.filterwarnings("ignore", module=r"sagemaker\.")
    warnings.filterwarnings("ignore", message="Running within a PipelineSession")
    logging.getLogger("sagemaker").setLevel(logging.ERROR)


def imported() -> tuple[Any, Any]:
    """Import boto3 and the SDK's session class, and return both. Call this before other imports from the SDK."""
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
            "run `make install-pipeline`, and use .venv-pipeline/bin/driftserve-pipeline"
        ) from error
    root.handlers[:] = handlers  # the SDK called logging.basicConfig, which shows every library's logs: _metrics.py:34
    root.setLevel(level)
    return boto3, PipelineSession


def _without_account(region: str) -> dict[str, str]:
    """Return variables that stop boto3 from looking for an account in files and on the network."""
    return {
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "offline",
        "AWS_SECRET_ACCESS_KEY": "offline",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SAGEMAKER_VALIDATE_ROLE": "false",
    }
