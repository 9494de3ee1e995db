"""What every step is drawn from, and where executions leave what they make."""

from collections.abc import Mapping
from dataclasses import dataclass

from driftserve_pipeline.definition.parameters import Parameters, declare_parameters
from driftserve_pipeline.sdk.expressions import Expression, Text, execution_id, join
from driftserve_pipeline.sdk.session import Session
from driftserve_pipeline.settings import PipelineSettings


@dataclass(frozen=True)
class Blueprint:
    """The settings, the parameters, the session, and the variables that every container is given."""

    settings: PipelineSettings
    parameters: Parameters
    session: Session
    environment: Mapping[str, Text]

    def output(self, name: str) -> Expression:
        """Where this execution leaves something, so that none overwrites another's.

        Where an output goes is no part of a step's cache key (docs: 'Default cache key attributes by pipeline step
        type'); a step whose result is taken from the cache points at the execution that has made it.
        """
        return self._place("executions", execution_id(), name)

    def checkpoints(self, *run: Text) -> Expression:
        """Where a training leaves its checkpoints: a place of its own for each set of choices on the same images.

        Not under the execution, for this place is part of the cache key; and an execution that is started in place of
        one that was cut off goes on where that one was.
        """
        return self._place("checkpoints", *run)

    def _place(self, *parts: Text) -> Expression:
        return join("s3:/", self.settings.bucket, self.settings.pipeline_name, *parts, by="/")


def draw(settings: PipelineSettings, session: Session, environment: Mapping[str, Text] | None = None) -> Blueprint:
    """A blueprint with parameters of its own; local runs say in the environment where their S3 is."""
    return Blueprint(settings, declare_parameters(), session, environment or {})
