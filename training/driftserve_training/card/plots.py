"""The plots of a model card: from plain values to SVG, the same bytes for the same values.

Text is drawn as outlines, so that a page needs no fonts. The background is transparent, so that a page can show the
plots in dark mode.
"""

from collections.abc import Callable, Sequence
from io import BytesIO

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_INK = "#1f2328"
# Blue and orange, which colour-blind people can distinguish too (Okabe and Ito 2008).
_FIRST, _SECOND = "#0072b2", "#d55e00"
_MOST_NUMBERED = 20  # largest number of rows at which the cells of a matrix have room for a number
_STYLE = {
    "svg.hashsalt": "driftserve",  # otherwise the identifiers in the file are random
    "font.size": 9,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Matrix = npt.NDArray[np.float64]


def draw_curves(first: Sequence[float], second: Sequence[float], names: tuple[str, str], best: int) -> bytes:
    """Draw two curves over the epochs, and a line at the best epoch, counted from 1; return the SVG."""

    def paint(axes: Axes) -> None:
        epochs = range(1, len(first) + 1)
        axes.plot(epochs, first, color=_FIRST, marker="o", markersize=3, label=names[0])
        axes.plot(epochs, second, color=_SECOND, marker="s", markersize=3, linestyle="--", label=names[1])
        axes.axvline(best, color=_INK, linewidth=0.8, linestyle=":", label="epoch kept")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.legend(frameon=False)

    return _to_svg(paint, 4.2, 3.0)


def draw_confusion(labels: Sequence[str], matrix: Matrix) -> bytes:
    """Draw a confusion matrix of K classes, (K, K), as an SVG.

    Rows are true classes, columns are predicted classes. The colour of a cell shows its share of the row. Above 20
    classes the cells are one picture, without numbers, and only every n-th class has its label.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)

    def paint(axes: Axes) -> None:
        if len(labels) > _MOST_NUMBERED:
            _paint_picture(axes, labels, share)
        else:
            _paint_cells(axes, labels, labels, share, [[f"{value:.0f}" for value in row] for row in matrix])
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")

    side = 2.0 + 0.45 * min(len(labels), _MOST_NUMBERED)
    return _to_svg(paint, side, side)


def draw_heat_map(rows: Sequence[str], columns: Sequence[str], values: Matrix, heading: str) -> bytes:
    """Draw the shares of R rows and C columns, (R, C), as colours and numbers; the cell of a NaN stays empty."""
    texts = [["" if np.isnan(value) else f"{value:.2f}" for value in row] for row in values]

    def paint(axes: Axes) -> None:
        _paint_cells(axes, rows, columns, values, texts)
        axes.set_xlabel(heading)

    return _to_svg(paint, 2.0 + 0.55 * len(columns), 0.9 + 0.27 * len(rows))


def draw_reliability(confidence: Sequence[float], accuracy: Sequence[float], images: Sequence[int]) -> bytes:
    """Draw a reliability diagram (Niculescu-Mizil and Caruana 2005): accuracy over confidence, with a dot for each bin.

    Args:
        confidence: mean confidence of each bin, in [0, 1].
        accuracy: share of correct predictions in each bin.
        images: number of images in each bin; a larger dot means more images, and an empty bin has no dot.
    """
    number = np.array(images, float)
    full = number > 0

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":", label="perfect calibration")
        sizes = 12 + 150 * number[full] / number.max(initial=1)
        sure, right = np.array(confidence)[full], np.array(accuracy)[full]
        axes.plot(sure, right, color=_FIRST, linewidth=1)
        axes.scatter(sure, right, s=sizes, color=_FIRST, alpha=0.75, label="images of a bin")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("highest probability")
        axes.set_ylabel("share correct")
        axes.legend(frameon=False, loc="upper left", markerscale=0.6)

    return _to_svg(paint, 4.2, 3.8)


def _paint_cells(
    axes: Axes, rows: Sequence[str], columns: Sequence[str], shares: Matrix, texts: Sequence[Sequence[str]]
) -> None:
    """Paint a grid with its first row on top; a cell is dark if the share is high."""
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=0.5)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=45 if max(map(len, columns)) > 4 else 0)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [name.replace("_", " ") for name in rows])
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.spines[:].set_visible(False)
    if len(rows) <= _MOST_NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            ink = "white" if share > 0.55 else _INK
            axes.text(column + 0.5, row + 0.5, texts[row][column], ha="center", va="center", color=ink, fontsize=8)


def _paint_picture(axes: Axes, labels: Sequence[str], shares: Matrix) -> None:
    """Paint a square grid as one picture, with at most 20 labels at each axis."""
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    places = range(0, len(labels), -(-len(labels) // _MOST_NUMBERED))
    names = [labels[place].replace("_", " ") for place in places]
    axes.set_xticks(places, names, rotation=90)
    axes.set_yticks(places, names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _to_svg(paint: Callable[[Axes], None], width: float, height: float) -> bytes:
    """Return what `paint` draws as an SVG without a time stamp, in our style; width and height are in inches."""
    buffer = BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure.subplots())
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
