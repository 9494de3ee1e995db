"""The error class of the pipeline."""

from driftserve.errors import DriftserveError


class PipelineError(DriftserveError):
    """The SageMaker pipeline cannot be defined, started or read, or one of its steps failed."""

    status = 500
