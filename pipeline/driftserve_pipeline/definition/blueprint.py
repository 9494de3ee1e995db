"""The inputs that all step definitions share, and the S3 locations of the steps' outputs."""

from collections.abc import Mapping
from dataclasses import dataclass

from driftserve_pipeline.definition.parameters import Parameters, declare_parameters
from driftserve_pipeline.sdk.expressions import Expression, Text, execution_id, join
from driftserve_pipeline.sdk.session import Session
from driftserve_pipeline.settings import PipelineSettings


@dataclass(frozen=True)
class Blueprint:
    """The settings, the parameters, the session, and the environment variables of every container."""

    settings: PipelineSettings
    parameters: Parameters
    session: Session
    environment: Mapping[str, Text]

    def output(self, name: str) -> Expression:
        """Return the location of an output of this execution. No execution overwrites the outputs of another.

        The location is not part of a step's cache key (SageMaker's documentation: 'Default cache key attributes by
        pipeline step type'). If a result comes from the cache, its outputs are where the earlier execution wrote them.
        """
        return self._place("executions", execution_id(), name)

    def checkpoints(self, *run: Text) -> Expression:
        """Return the location of a training's checkpoints.

        Each set of choices on the same images has its own location. The execution's ID is not part of it, for two
        reasons: the location is part of the cache key, and a new execution resumes from the checkpoints of an
        interrupted one.
        """
        return self._place("checkpoints", *run)

    def _place(self, *parts: Text) -> Expression:
        return join("s3:/", self.settings.bucket, self.settings.pipeline_name, *parts, by="/")


def make_blueprint(
    settings: PipelineSettings, session: Session, environment: Mapping[str, Text] | None = None
) -> Blueprint:
    """Return a blueprint with new parameters. In a local run, the environment has the address of the local S3."""
    return Blueprint(settings, declare_parameters(), session, environment or {})
