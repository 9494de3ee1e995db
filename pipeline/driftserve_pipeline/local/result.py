"""How a local execution has ended."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """How an execution ended: with a package in the registry, with nothing to register, or with a reason."""

    execution_id: str
    reason: str | None = None
    """Why it failed; None where it has not."""
    package: str | None = None
    """ARN of the registered model package."""
    archive: str | None = None
    """The folder with the archive of what ran last, which can be served."""
