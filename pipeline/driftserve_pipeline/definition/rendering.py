"""The definition as SageMaker is given it: JSON that is the same wherever, and whenever, it is made."""

import json
from typing import Any

from driftserve_pipeline.definition.pipeline import build
from driftserve_pipeline.sdk.session import offline
from driftserve_pipeline.settings import PipelineSettings


def render(settings: PipelineSettings) -> str:
    """The definition of the settings' pipeline; needs no network and no account.

    Raises:
        PipelineError: the SDK is not installed.
    """
    with offline(settings):  # the SDK draws the steps again as it writes them down
        return normalise(build(settings).definition())


def normalise(definition: str) -> str:
    """A definition as one of the same meaning always is: keys and dependencies sorted, steps in their order.

    >>> print(normalise('{"Version": "2020-12-01", "Metadata": {}, "MlflowConfig": null}'), end="")
    {
      "Metadata": {},
      "Version": "2020-12-01"
    }
    """
    known = {name: value for name, value in json.loads(definition).items() if value is not None}
    return json.dumps(_sorted(known), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _sorted(value: Any) -> Any:
    """With the lists whose order the SDK takes from a set in one that stays."""
    if isinstance(value, list):
        return [_sorted(part) for part in value]
    if isinstance(value, dict):
        return {name: sorted(part) if name == "DependsOn" else _sorted(part) for name, part in value.items()}
    return value
