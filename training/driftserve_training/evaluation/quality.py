"""The file `evaluation.json`: a model's quality in the format of SageMaker Model Monitor, then our own evaluation.

The model registry and the pipeline's conditions read the first part:
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from driftserve.errors import DataError
from driftserve.validation import first_problem
from driftserve_training.evaluation.confusion import Counts, counts_of, scores_of, weighted_f_score
from driftserve_training.evaluation.document import Evaluation
from driftserve_training.evaluation.intervals import resample

_MOST_WHOLE = 100  # most classes whose confusion matrix is written with its empty cells
_METRICS: dict[str, Callable[[Counts], npt.NDArray[np.float64]]] = {
    "accuracy": lambda counts: scores_of(counts).accuracy,
    "weighted_recall": lambda counts: scores_of(counts).weighted_recall,
    "weighted_precision": lambda counts: scores_of(counts).weighted_precision,
    "weighted_f0_5": partial(weighted_f_score, beta=0.5),
    "weighted_f1": partial(weighted_f_score, beta=1.0),
    "weighted_f2": partial(weighted_f_score, beta=2.0),
}


@dataclass(frozen=True)
class QualityMetric:
    """A metric and its standard deviation over resamples."""

    value: float
    standard_deviation: float


@dataclass(frozen=True)
class _File:
    """The content of `evaluation.json`."""

    multiclass_classification_metrics: dict[str, QualityMetric | dict[str, dict[str, int]]]
    driftserve: Evaluation


_ADAPTER = TypeAdapter(_File)


def evaluation_file(split: str) -> str:
    """Return the name of a split's evaluation file; the model card and the archive use the file of `test`."""
    return "evaluation.json" if split == "test" else f"evaluation-{split}.json"


def write_evaluation(trained: Path, evaluation: Evaluation, seed: int) -> None:
    """Write an evaluation into the folder of its training run.

    Above 100 classes, Model Monitor's confusion matrix has only the cells with images, and the file has no indentation.
    """
    confusion = np.array(evaluation.confusion)
    is_large = len(evaluation.labels) > _MOST_WHOLE
    named = {
        label: {
            predicted: number
            for predicted, number in zip(evaluation.labels, row, strict=True)
            if number or not is_large
        }
        for label, row in zip(evaluation.labels, evaluation.confusion, strict=True)
    }
    document = _File({"confusion_matrix": named, **quality_metrics(confusion, seed)}, evaluation)
    content = _ADAPTER.dump_json(document, indent=None if is_large else 2)
    (trained / evaluation_file(evaluation.split)).write_bytes(content)


def read_evaluation(trained: Path, split: str = "test") -> Evaluation:
    """Read the evaluation of a training run.

    Raises:
        DataError: the run was not evaluated on that split, or the file is invalid.
    """
    path = trained / evaluation_file(split)
    try:
        return _ADAPTER.validate_json(path.read_bytes()).driftserve
    except OSError as error:
        raise DataError(f"{path}: cannot read the evaluation: {error.strerror}; run `evaluate` first") from error
    except ValidationError as error:
        problem = first_problem(error)
        raise DataError(f"{path}: {problem.place}: {problem.reason}; run `evaluate` again") from error


def quality_metrics(confusion: npt.NDArray[np.int64], seed: int) -> dict[str, QualityMetric]:
    """Return the metrics of a confusion matrix of K classes, (K, K), by their names in Model Monitor.

    The standard deviations come from the bootstrap; Model Monitor itself computes them over five draws of 80 % of the
    images. The same metrics are added for the best constant classifier, which always predicts the most frequent label.
    """
    constant = np.zeros_like(confusion)
    constant[:, confusion.sum(axis=1).argmax()] = confusion.sum(axis=1)
    metrics = {}
    for suffix, matrix in (("", confusion), ("_best_constant_classifier", constant)):
        resampled = resample(matrix, seed, _measure)
        for name, value in _measure(counts_of(matrix)).items():
            metrics[f"{name}{suffix}"] = QualityMetric(float(value), float(resampled[name].std()))
    return metrics


def _measure(counts: Counts) -> dict[str, npt.NDArray[np.float64]]:
    return {name: metric(counts) for name, metric in _METRICS.items()}
