"""Render the pipeline's definition as JSON for SageMaker. The same settings give the same bytes on every machine."""

import json
from typing import Any

from driftserve_pipeline.definition.pipeline import build
from driftserve_pipeline.sdk.session import offline
from driftserve_pipeline.settings import PipelineSettings


def render(settings: PipelineSettings) -> str:
    """Return the definition of the settings' pipeline as JSON. This needs no network and no account.

    Raises:
        PipelineError: the SDK is not installed.
    """
    with offline(settings):  # because definition() creates steps too
        return normalise(build(settings).definition())


def normalise(definition: str) -> str:
    """Return a definition in one fixed form: keys and dependencies sorted, steps in their order, no top-level nulls.

    >>> print(normalise('{"Version": "2020-12-01", "Metadata": {}, "MlflowConfig": null}'), end="")
    {
      "Metadata": {},
      "Version": "2020-12-01"
    }
    """
    known = {name: value for name, value in json.loads(definition).items() if value is not None}
    return json.dumps(_sorted(known), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _sorted(value: Any) -> Any:
    """Return the value with sorted lists of dependencies: the SDK makes them from a set, so the order varies."""
    if isinstance(value, list):
        return [_sorted(part) for part in value]
    if isinstance(value, dict):
        return {name: sorted(part) if name == "DependsOn" else _sorted(part) for name, part in value.items()}
    return value
