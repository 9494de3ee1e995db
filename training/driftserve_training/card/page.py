"""The model card as a page: one HTML file that contains its pictures and loads no other files."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined

from driftserve.archive.certificate import Certificate
from driftserve_training.card.card import ModelCard
from driftserve_training.card.evidence import Epoch
from driftserve_training.card.plots import Matrix, draw_confusion, draw_curves, draw_heat_map, draw_reliability
from driftserve_training.evaluation.document import Evaluation, Interval, Robustness

_TEMPLATE = files("driftserve_training.card") / "template.html"


_MOST_TABULATED = 30  # most classes whose confusion matrix is shown as a table
_MOST_MISTAKES = 50  # number of mistakes that are shown in place of a larger table


@dataclass(frozen=True)
class _Mistake:
    """Images of one class that were predicted as another class."""

    true: str
    predicted: str
    images: int


@dataclass(frozen=True)
class _Drawing:
    """A plot as an SVG, and a description for readers who cannot see it."""

    svg: bytes
    words: str


def to_page(card: ModelCard, digest: str) -> str:
    """Return the card as HTML, the same text for the same card; `digest` is the digest of the card's JSON."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"share": _share, "span": _span, "named": _named}
    environment.globals |= {"svg": _svg_uri, "png": _png_uri}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    mistakes = _frequent_mistakes(card.evaluation) if len(card.evaluation.labels) > _MOST_TABULATED else ()
    return (
        template.render(card=card, digest=digest, drawings=_draw(card), mistakes=mistakes, unmeasured=_unmeasured(card))
        + "\n"
    )


def _draw(card: ModelCard) -> Mapping[str, _Drawing]:
    """Return the plots by name, without those for which nothing was measured."""
    drawings = {"confusion": _confusion(card.evaluation), "reliability": _reliability(card.evaluation)}
    if card.history:
        drawings |= _curves(card.history, card.trained.best_epoch)
    if card.evaluation.robustness:
        drawings["robustness"] = _robustness(card.evaluation.robustness)
    if card.certificate and any(cell.power is not None for cell in card.certificate.power):
        drawings["power"] = _power(card.certificate)
    return drawings


def _curves(history: tuple[Epoch, ...], best: int) -> dict[str, _Drawing]:
    losses = draw_curves(
        [epoch.train_loss for epoch in history],
        [epoch.val_loss for epoch in history],
        ("training loss", "validation loss"),
        best,
    )
    scores = draw_curves(
        [epoch.val_accuracy for epoch in history],
        [epoch.val_macro_f1 for epoch in history],
        ("validation accuracy", "validation macro F1"),
        best,
    )
    first, last = history[0], history[-1]
    return {
        "losses": _Drawing(
            losses,
            f"Curves over {len(history)} epochs: training loss from {first.train_loss:.3f} to {last.train_loss:.3f}, "
            f"validation loss from {first.val_loss:.3f} to {last.val_loss:.3f}",
        ),
        "scores": _Drawing(
            scores,
            f"Curves over {len(history)} epochs: validation accuracy from {first.val_accuracy:.3f} to "
            f"{last.val_accuracy:.3f}, validation macro F1 from {first.val_macro_f1:.3f} to {last.val_macro_f1:.3f}",
        ),
    }


def _confusion(evaluation: Evaluation) -> _Drawing:
    matrix = np.array(evaluation.confusion, float)
    wrong = matrix - np.diag(np.diag(matrix))
    words = "Confusion matrix; every image was predicted correctly"
    if wrong.any():
        true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
        words = (
            f"Confusion matrix; the most frequent mistake is {evaluation.labels[true]} predicted as "
            f"{evaluation.labels[predicted]}, {wrong.max():.0f} of {matrix[true].sum():.0f} times"
        )
    return _Drawing(draw_confusion(evaluation.labels, matrix), words)


def _frequent_mistakes(evaluation: Evaluation) -> tuple[_Mistake, ...]:
    """Return the most frequent mistakes, the first one first."""
    wrong = np.array(evaluation.confusion)
    np.fill_diagonal(wrong, 0)
    frequent = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_MISTAKES]
    places = zip(*np.unravel_index(frequent, wrong.shape), strict=True)
    return tuple(
        _Mistake(evaluation.labels[true], evaluation.labels[predicted], int(wrong[true, predicted]))
        for true, predicted in places
        if wrong[true, predicted]
    )


def _reliability(evaluation: Evaluation) -> _Drawing:
    bins = evaluation.reliability
    svg = draw_reliability([b.confidence for b in bins], [b.accuracy for b in bins], [b.images for b in bins])
    return _Drawing(
        svg, f"Reliability diagram; the expected calibration error (ECE) is {evaluation.calibrated.ece:.3f}"
    )


def _robustness(robustness: Robustness) -> _Drawing:
    accuracies = {(cell.corruption, cell.severity): cell.accuracy for cell in robustness.cells}
    rows, columns, values = _grid(accuracies)
    means = values.mean(axis=1)
    svg = draw_heat_map(rows, [*columns, "mean"], np.column_stack([values, means]), "severity")
    worst = int(means.argmin())
    return _Drawing(
        svg,
        f"Heat map of accuracy under {len(rows)} corruptions at {len(columns)} severities; "
        f"lowest on average: {rows[worst].replace('_', ' ')}, {means[worst]:.3f}",
    )


def _power(certificate: Certificate) -> _Drawing:
    missing = float("nan")
    powers = {
        (cell.corruption, cell.severity): missing if cell.power is None else cell.power for cell in certificate.power
    }
    rows, columns, values = _grid(powers)
    return _Drawing(
        draw_heat_map(rows, columns, values, "severity"),
        f"Heat map of the share of windows with an alarm, under {len(rows)} corruptions at {len(columns)} severities",
    )


def _grid(by_cell: Mapping[tuple[str, int], float]) -> tuple[list[str], list[str], Matrix]:
    """Return R corruptions, C severities, and a value for each pair, (R, C); NaN if there is none."""
    rows = list(dict.fromkeys(corruption for corruption, _ in by_cell))
    columns = sorted({severity for _, severity in by_cell})
    values = [[by_cell.get((row, column), float("nan")) for column in columns] for row in rows]
    return rows, [str(column) for column in columns], np.array(values)


def _unmeasured(card: ModelCard) -> list[tuple[str, str]]:
    """Return what this card does not show, each with the command that adds it."""
    evidence = {
        ("the accuracy on corrupted images", "evaluate --robustness-images N"): card.evaluation.robustness,
        ("the accuracy under adversarial attacks", "evaluate --adversary-images N"): card.evaluation.attacks,
        ("a comparison with another network", "evaluate --champion RUN"): card.evaluation.comparison,
        ("what the network looks at in an image", "explain"): card.explanations,
        ("what the drift detector sees", "export"): card.certificate,
        ("the history of training, epoch by epoch", "train"): card.history,
        ("the parameters of training", "train"): card.choices,
    }
    return [sentence for sentence, value in evidence.items() if not value]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _span(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _named(name: str) -> str:
    return name.replace("_", " ")


def _svg_uri(drawing: _Drawing) -> str:
    return f"data:image/svg+xml;base64,{b64encode(drawing.svg).decode()}"


def _png_uri(content: bytes) -> str:
    return f"data:image/png;base64,{b64encode(content).decode()}"
