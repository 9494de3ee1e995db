"""What holds for every job: when it is tried again, how long its result is kept, its tags and its network."""

from typing import Any

from driftserve_pipeline.settings import PipelineSettings

_ATTEMPTS = 5
_CAPACITY_MINUTES = 240


def retry_policies() -> list[Any]:
    """Wait for a service that stumbles, a machine that broke, capacity that is short; an error of ours is final."""
    from sagemaker.mlops.workflow.retry import (
        SageMakerJobExceptionTypeEnum,
        SageMakerJobStepRetryPolicy,
        StepExceptionTypeEnum,
        StepRetryPolicy,
    )

    return [
        StepRetryPolicy(
            exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
            interval_seconds=10,
            backoff_rate=2.0,
            max_attempts=_ATTEMPTS,
        ),
        SageMakerJobStepRetryPolicy(
            failure_reason_types=[SageMakerJobExceptionTypeEnum.INTERNAL_ERROR],
            interval_seconds=30,
            backoff_rate=2.0,
            max_attempts=_ATTEMPTS,
        ),
        SageMakerJobStepRetryPolicy(
            exception_types=[SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT],
            failure_reason_types=[SageMakerJobExceptionTypeEnum.CAPACITY_ERROR],
            interval_seconds=120,
            backoff_rate=1.5,
            expire_after_mins=_CAPACITY_MINUTES,
        ),
    ]


def caching(settings: PipelineSettings) -> Any:
    """For how long the same step with the same inputs is not run again; None: always."""
    from sagemaker.mlops.workflow.steps import CacheConfig

    return CacheConfig(enable_caching=True, expire_after=f"P{settings.cache_days}D") if settings.cache_days else None
