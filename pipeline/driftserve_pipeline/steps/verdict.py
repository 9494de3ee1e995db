"""The verdict on a model: what the pipeline's condition reads, why, and what it would be registered with."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.steps.evidence import Evaluation, read_evidence

VERDICT_FILE = "verdict.json"
NONE = "none"


class Verdict(BaseModel):
    """`verdict.json`. `beats_champion` is 1 or 0, as a condition of a pipeline compares numbers."""

    model_config = ConfigDict(frozen=True)

    accuracy: float
    beats_champion: int
    champion: str
    reason: str
    metadata: Mapping[str, str]


def judge(
    evaluation: Evaluation, threshold: float, champion: str | None, is_comparable: bool, metadata: Mapping[str, str]
) -> Verdict:
    """The verdict on an evaluation.

    A champion is beaten by more right answers on the same test images; how sure that is, p, is for whoever approves.

    Args:
        evaluation: with the comparison where there is a champion that is comparable.
        threshold: the least accuracy that is registered.
        champion: the ARN of the newest approved version.
        is_comparable: whether it knows the same classes; else it has no answer to hold against.
        metadata: beside what the evaluation says.

    Raises:
        PipelineError: the champion is comparable, and was not compared.
    """
    accuracy, comparison = evaluation.accuracy, evaluation.driftserve.comparison
    against, beats = [], True
    if accuracy < threshold:
        against.append(f"accuracy {accuracy:.4f} is below the threshold {threshold:g}")
    if champion is None:
        compared, known = "no - none is approved", "no version is approved yet"
    elif not is_comparable:
        compared, known = "no - other classes", f"the champion {champion} knows other classes and was not compared"
    elif comparison is None:
        raise PipelineError(f"evaluation.json: expected a comparison with {champion}, got none; evaluate again")
    else:
        compared, beats = "yes", comparison.lead > 0
        known = (
            f"{comparison.challenger_alone_right} of {comparison.images} test images are right here alone, "
            f"{comparison.champion_alone_right} by the champion {champion} alone (p {comparison.p_value:.3g})"
        )
        if not beats:
            against.append("the champion is not beaten")
    reason = f"{'; '.join(against) or 'nothing speaks against it'}: {_measured(evaluation)}, {known}"
    return Verdict(
        accuracy=accuracy,
        beats_champion=int(beats),
        champion=champion or NONE,
        reason=reason,
        metadata=_scores(evaluation) | {"champion": champion or NONE, "compared": compared} | dict(metadata),
    )


def write_verdict(verdict: Verdict, folder: Path) -> None:
    """Write it into a folder."""
    (folder / VERDICT_FILE).write_text(verdict.model_dump_json(indent=1) + "\n")


def read_verdict(folder: Path) -> Verdict:
    """The verdict in a folder.

    Raises:
        PipelineError: there is none, or it breaks the schema.
    """
    return read_evidence(folder / VERDICT_FILE, Verdict)


def _measured(evaluation: Evaluation) -> str:
    return f"accuracy {evaluation.accuracy:.4f} on {evaluation.driftserve.images} test images"


def _scores(evaluation: Evaluation) -> dict[str, str]:
    robustness, comparison = evaluation.driftserve.robustness, evaluation.driftserve.comparison
    return {
        "accuracy": f"{evaluation.accuracy:.4f}",
        "mean_corruption_accuracy": f"{robustness.mean_corruption_accuracy.value:.4f}" if robustness else NONE,
        "p_value": f"{comparison.p_value:.3g}" if comparison else NONE,
    }
