"""The retry policies and the cache configuration of every job."""

from typing import Any

from driftserve_pipeline.settings import PipelineSettings

_ATTEMPTS = 5
_CAPACITY_MINUTES = 240


def retry_policies() -> list[Any]:
    """Return policies to retry after service faults, broken machines and missing capacity, not after our errors."""
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
    """Return for how long a step with the same inputs reuses its cached result; None disables the cache."""
    from sagemaker.mlops.workflow.steps import CacheConfig

    return CacheConfig(enable_caching=True, expire_after=f"P{settings.cache_days}D") if settings.cache_days else None
