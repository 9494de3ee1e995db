"""The verdict on a model: whether it beats the champion, the reason, and the metadata for the registry."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from driftserve_pipeline.errors import PipelineError
from driftserve_pipeline.steps.evidence import Evaluation, read_evidence

VERDICT_FILE = "verdict.json"
NONE = "none"


class Verdict(BaseModel):
    """`verdict.json`. `beats_champion` is 1 or 0, because a condition of a pipeline compares numbers."""

    model_config = ConfigDict(frozen=True)

    accuracy: float
    beats_champion: int
    champion: str
    reason: str
    metadata: Mapping[str, str]


def judge(
    evaluation: Evaluation, threshold: float, champion: str | None, is_comparable: bool, metadata: Mapping[str, str]
) -> Verdict:
    """Return the verdict on an evaluation.

    A network beats the champion if it gets more of the same test images right. The p-value does not decide; it informs
    the person who approves.

    Args:
        evaluation: the evaluation; it contains the comparison if there is a comparable champion.
        threshold: the lowest accuracy that is registered.
        champion: the ARN of the newest approved version, or None.
        is_comparable: whether the champion has the same labels. If not, the predictions cannot be compared.
        metadata: metadata to add to that of the evaluation.

    Raises:
        PipelineError: the champion is comparable, but was not compared.
    """
    accuracy, comparison = evaluation.accuracy, evaluation.driftserve.comparison
    against, beats = [], True
    if accuracy < threshold:
        against.append(f"accuracy {accuracy:.4f} is below the threshold {threshold:g}")
    if champion is None:
        compared, known = "no - none is approved", "no version is approved yet"
    elif not is_comparable:
        compared, known = "no - other classes", f"the champion {champion} has other classes and was not compared"
    elif comparison is None:
        raise PipelineError(f"evaluation.json: expected a comparison with {champion}, got none; evaluate again")
    else:
        compared, beats = "yes", comparison.lead > 0
        known = (
            f"this model alone is right on {comparison.challenger_alone_right} of {comparison.images} test images, "
            f"the champion {champion} alone on {comparison.champion_alone_right} (p {comparison.p_value:.3g})"
        )
        if not beats:
            against.append("not better than the champion")
    reason = f"{'; '.join(against) or 'the model passes'}: {_measured(evaluation)}, {known}"
    return Verdict(
        accuracy=accuracy,
        beats_champion=int(beats),
        champion=champion or NONE,
        reason=reason,
        metadata=_scores(evaluation) | {"champion": champion or NONE, "compared": compared} | dict(metadata),
    )


def write_verdict(verdict: Verdict, folder: Path) -> None:
    """Write the verdict into a folder."""
    (folder / VERDICT_FILE).write_text(verdict.model_dump_json(indent=1) + "\n")


def read_verdict(folder: Path) -> Verdict:
    """Read the verdict in a folder.

    Raises:
        PipelineError: the file is missing, or does not match the schema.
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
