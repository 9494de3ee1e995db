"""Draw how data moves: from an image to its answer, and from many images to a verdict on drift."""

from math import exp

from driftserve_pictures.drawing import Box, Drawing, Point, Text, title

_COLUMNS = ((14, 110), (152, 155), (335, 155), (518, 155), (701, 125))  # x and width of each column of boxes
_SERVE_Y, _TRAIN_Y, _WATCH_Y = 46, 242, 424
_ROW_HEIGHT = 92
_WATCH_HEIGHT = 118


def draw_data_flow() -> Drawing:
    """Return the picture: serving runs to the right, watching back to the left, training feeds both."""
    drawing = Drawing(
        "How data moves through driftserve",
        "A request's image is decoded, preprocessed, and classified by the network; the prediction is the response. "
        "The image's features go as one datagram to the monitor, a process of its own. It collects them in windows of "
        "200 and 1,000 images and compares each window to the archive's reference by Kolmogorov-Smirnov tests. The "
        "report says OK or DRIFT and becomes metrics in CloudWatch, as EMF, or in the log. Training writes the "
        "archive, which holds the network and the reference; it uses the same decoding and preprocessing.",
        840,
        562,
    )
    drawing.panel(Box(0, 0, 840, 154))
    drawing.panel(Box(0, 196, 504, 154))
    drawing.panel(Box(0, 378, 840, 184))
    _heading(drawing, 28, Text("SERVE", 16, "serve", is_bold=True), "every request, in a worker", 72)
    _heading(drawing, 224, Text("TRAIN", 16, "ink", is_bold=True), "once, before serving", 72)
    _heading(drawing, 406, Text("WATCH", 16, "watch", is_bold=True), "every window, in a process of its own", 76)
    _draw_serving(drawing)
    _draw_training(drawing)
    _draw_watching(drawing)
    return drawing


def _heading(drawing: Drawing, y: float, verb: Text, when: str, indent: float) -> None:
    drawing.text(verb, (16, y))
    drawing.text(Text(when), (16 + indent, y))


def _draw_serving(drawing: Drawing) -> None:
    request, pixels, network, prediction, response = (_box(column, _SERVE_Y) for column in range(5))
    drawing.box(request, [title("request"), Text("image bytes")])
    drawing.box(pixels, [title("decode,"), title("preprocess"), Text("uint8 pixels")], "serve", "serve-fill")
    drawing.box(network, [title("network"), Text("TorchScript")], "serve", "serve-fill")
    drawing.box(prediction, [title("prediction"), Text("calibrated")], "serve", "serve-fill")
    drawing.box(response, [title("response"), Text("label, score")])
    for left, right in ((request, pixels), (pixels, network), (network, prediction), (prediction, response)):
        drawing.arrow((left.right + 3, left.middle), (right.x - 3, right.middle), "serve")


def _draw_training(drawing: Drawing) -> None:
    images, training, archive = (_box(column, _TRAIN_Y) for column in range(3))
    drawing.box(images, [title("images"), Text("with labels")])
    drawing.box(training, [title("training"), Text("the same decode,"), Text("preprocess")])
    drawing.box(archive, [title("archive"), Text("network, labels,"), Text("reference")])
    drawing.arrow((images.right + 3, images.middle), (training.x - 3, images.middle))
    drawing.arrow((training.right + 3, images.middle), (archive.x - 3, images.middle))
    drawing.arrow((archive.center, archive.y - 3), (archive.center, _SERVE_Y + _ROW_HEIGHT + 3), "serve")
    drawing.text(Text("verified, loaded", 16, "serve"), (archive.center + 10, 181))
    drawing.arrow((archive.center, archive.bottom + 3), (archive.center, _WATCH_Y - 3), "watch")
    drawing.text(Text("reference", 16, "watch"), (archive.center + 10, 370))


def _draw_watching(drawing: Drawing) -> None:
    metrics, report, tests, windows = (_box(column, _WATCH_Y, _WATCH_HEIGHT) for column in range(4))
    windows = Box(windows.x, windows.y, 826 - windows.x, windows.height)
    prediction = _box(3, _SERVE_Y)
    x = prediction.center
    drawing.arrow((x, prediction.bottom + 3), (x, windows.y - 3), "watch")
    drawing.text(Text("features of the image", 16, "watch"), (x + 12, 252))
    drawing.text(Text("one datagram,", 16), (x + 12, 276))
    drawing.text(Text("never blocks", 16), (x + 12, 298))

    sizes = Text("of 200 images, and of 1,000", 16)
    drawing.box(windows, [title("windows"), sizes], "watch", "watch-fill", top=12)
    size, gap = 44.0, 8.0
    left = windows.center - (5 * size + 4 * gap) / 2
    for number in range(5):
        drawing.tile(Box(left + number * (size + gap), windows.y + 68, size, 16), "watch")
    drawing.tile(Box(left, windows.y + 92, 5 * size + 4 * gap, 10), "watch")

    drawing.box(tests, [title("KS tests")], "watch", "watch-fill", top=12)
    _draw_distributions(drawing, tests)
    drawing.box(report, [title("report")], "watch", "watch-fill", top=12)
    ok, drift = Box(report.x + 28, report.y + 46, 99, 26), Box(report.x + 28, report.y + 80, 99, 26)
    drawing.box(ok, [Text("OK", 16, "ink")])
    drawing.box(drift, [Text("DRIFT", 16, "watch", is_bold=True)], "watch")
    sinks = [Text("CloudWatch"), Text("EMF"), Text("log")]
    drawing.box(metrics, [title("metrics"), *sinks], top=12)
    for right, to in ((windows, tests), (tests, report), (report, metrics)):
        drawing.arrow((right.x - 3, right.middle), (to.right + 3, right.middle), "watch")


def _draw_distributions(drawing: Drawing, box: Box) -> None:
    """Draw two distribution functions, the reference's and a window's, and the largest distance between them."""
    left, width, low, height = box.x + 22, box.width - 44, box.bottom - 16, 56
    places = [number / 24 for number in range(25)]

    def curve(median: float) -> list[Point]:
        return [(left + width * place, low - height / (1 + exp(-14 * (place - median)))) for place in places]

    drawing.line(curve(0.31), "line")
    drawing.line(curve(0.69), "watch")
    distance = curve(0.31)[12][1], curve(0.69)[12][1]
    drawing.line([(left + width / 2, distance[0]), (left + width / 2, distance[1])], "ink", is_dashed=True)
    drawing.text(Text("D", 15, "ink", is_bold=True), (left + width / 2 + 7, low - height / 2 + 5))


def _box(column: int, y: float, height: float = _ROW_HEIGHT) -> Box:
    x, width = _COLUMNS[column]
    return Box(x, y, width, height)
