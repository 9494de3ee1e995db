"""Read from the training package's result files what the verdict needs."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from driftserve.validation import first_problem
from driftserve_pipeline.errors import PipelineError

_Kind = TypeVar("_Kind", bound=BaseModel)


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Value(_Read):
    """A score. Its interval is ignored."""

    value: float


class Comparison(_Read):
    """A comparison on the same test images: McNemar's test on the images that only one network got right."""

    images: int
    challenger_alone_right: int
    champion_alone_right: int
    p_value: float

    @property
    def lead(self) -> int:
        """How many more images the challenger got right; negative if the champion leads."""
        return self.challenger_alone_right - self.champion_alone_right


class _Robustness(_Read):
    mean_corruption_accuracy: Value


class _Evaluation(_Read):
    images: int
    robustness: _Robustness | None
    comparison: Comparison | None


class _Metrics(_Read):
    accuracy: Value


class Evaluation(_Read):
    """The part of `evaluation.json` that is needed here. The pipeline's condition reads the same accuracy."""

    multiclass_classification_metrics: _Metrics
    driftserve: _Evaluation

    @property
    def accuracy(self) -> float:
        """Accuracy on the test images."""
        return self.multiclass_classification_metrics.accuracy.value


class Trained(_Read):
    """The part of `trained.json` that is needed here."""

    labels: tuple[str, ...]
    manifest_sha256: str


class _FalseAlarms(_Read):
    budget: float
    rate: float


class _Power(_Read):
    power: float | None


class Certificate(_Read):
    """The part of `certificate.json` that is needed here."""

    kind: str
    images: int
    false_alarms: tuple[_FalseAlarms, ...]
    power: tuple[_Power, ...]

    def __str__(self) -> str:
        """Return a summary in one line, with only those characters that a model package's metadata may contain."""
        power = [cell.power for cell in self.power if cell.power is not None]
        alarms = [f"false alarms {row.rate:.4f} of {row.budget:.4f} allowed" for row in self.false_alarms[:1]]
        powers = [f"power {sum(power) / len(power):.3f} over {len(power)} corruptions"] if power else []
        return " - ".join([self.kind, *alarms, *powers, f"{self.images} images"])


def read_evidence(path: Path, kind: type[_Kind]) -> _Kind:
    """Read a JSON file.

    Raises:
        PipelineError: the file is missing, or does not match the schema.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise PipelineError(f"{path}: cannot read the file: {error.strerror}") from error
    except ValidationError as error:
        problem = first_problem(error)
        raise PipelineError(f"{path}: {problem.place}: {problem.reason}; run the step that wrote it again") from error
