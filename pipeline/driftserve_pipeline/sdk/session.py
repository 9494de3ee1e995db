"""The session that steps are drawn in: it knows a region and a bucket, and asks AWS nothing."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.settings import PipelineSettings

# The SDK's type, known only where it is installed.
Session = Any

# Given, so that no file of the machine, which anybody may have in ~/.config, changes what is built.
CONFIGURATION = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


@contextmanager
def offline(settings: PipelineSettings) -> Iterator[None]:
    """A time in which the SDK can be imported and used without an account and a network, and is quiet.

    It makes clients of the default session, while it is imported (air_hub.py:36) and in a step's constructor
    (steps.py:594), each of which looks for a region and for keys. Afterwards all is as it was, for who has real ones.
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
    """A session that takes requests down and sends none; to be used in a time `offline`.

    Raises:
        PipelineError: the SDK is not installed.
    """
    prepare(settings)
    boto3, pipeline_session = imported()

    class OfflineSession(pipeline_session):  # type: ignore[misc, valid-type]
        """The SDK's, which else would look for the bucket, or make it, and upload what it finds."""

        def default_bucket(self) -> str:
            return settings.bucket

        def upload_data(self, *_: object, **__: object) -> str:
            raise PipelineError("expected steps whose code is in their image, got a file to upload; leave it out")

        upload_string_as_file_body = upload_data

    session: Session = OfflineSession(
        boto_session=boto3.Session(region_name=settings.region),
        default_bucket=settings.bucket,
        sagemaker_config=CONFIGURATION,
    )
    return session


def prepare(settings: PipelineSettings) -> None:
    """Keep the SDK from asking IAM whether the role may do what it has to, and its warnings to itself."""
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"  # iam_role_resolver.py:702; no constructor takes it
    os.environ.setdefault("AWS_DEFAULT_REGION", settings.region)  # it makes a client while imported: air_hub.py:36
    warnings.filterwarnings("ignore", module=r"sagemaker\.")
    warnings.filterwarnings("ignore", message="Running within a PipelineSession")
    logging.getLogger("sagemaker").setLevel(logging.ERROR)


def imported() -> tuple[Any, Any]:
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


def _without_account(region: str) -> dict[str, str]:
    """What keeps boto3 from looking for an account: in files, and on the network."""
    return {
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": "offline",
        "AWS_SECRET_ACCESS_KEY": "offline",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SAGEMAKER_VALIDATE_ROLE": "false",
    }
