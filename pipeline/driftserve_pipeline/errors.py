"""The error that the pipeline raises on purpose, for whatever reason."""

from driftserve.errors import DriftserveError


class PipelineError(DriftserveError):
    """The SageMaker pipeline cannot be defined, started or read, or one of its steps has failed."""

    status = 500
