import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from PIL import ImageFont
from scipy import stats

from checkout import ROOT
from driftserve.drift.detection import is_drift
from driftserve.drift.reference import to_reference
from driftserve.drift.window import count_rows
from driftserve.errors import DriftserveError
from driftserve_pictures.animation import animate, to_frames
from driftserve_pictures.data_flow import draw_data_flow
from driftserve_pictures.drawing import THEMES, Drawing
from driftserve_pictures.drift import Phase, alarm_threshold, draw_drift
from driftserve_pictures.processes import draw_processes
from driftserve_pictures.recording import Output, read_cast, record, write_cast

SVG = "{http://www.w3.org/2000/svg}"
DRAWINGS = {"data-flow": draw_data_flow(), "processes": draw_processes()}
DRIFT = draw_drift(
    [
        Phase("calm traffic", 0, ({"sharpness": 0.1, "colour_detail": 0.2},) * 12),
        Phase("noisy images", 2, ({"sharpness": 1.0, "colour_detail": 1.0, "clipping": 0.98},) * 2),
    ],
    0.25,
)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", DRAWINGS)
def test_the_committed_drawing_is_what_the_code_draws(name: str, theme: str) -> None:
    committed = ROOT / "docs" / "pictures" / f"{name}-{theme}.svg"
    assert committed.read_text() == DRAWINGS[name].to_svg(THEMES[theme]), "run `make pictures`"


@pytest.mark.parametrize("drawing", [*DRAWINGS.values(), DRIFT], ids=[*DRAWINGS, "drift"])
def test_no_text_runs_out_of_its_box_or_of_the_picture(drawing: Drawing) -> None:
    root = ElementTree.fromstring(drawing.to_svg(THEMES["light"]))  # noqa: S314 - it is ours
    for text in root.iterfind(f"{SVG}text"):
        _assert_between(text, 0, drawing.width)
    for group in root.iterfind(f"{SVG}g"):
        rectangle = group.find(f"{SVG}rect")
        assert rectangle is not None
        left, width = float(rectangle.attrib["x"]), float(rectangle.attrib["width"])
        for text in group.iterfind(f"{SVG}text"):
            _assert_between(text, left + 3, left + width - 3)


def _assert_between(text: ElementTree.Element, left: float, right: float) -> None:
    """By DejaVu Sans, which is wider than all fonts that the pictures ask for."""
    face = "DejaVuSans-Bold.ttf" if "bold" in text.attrib["class"] else "DejaVuSans.ttf"
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{face}", float(text.attrib["font-size"]))
    width = font.getlength(text.text or "")
    start = float(text.attrib["x"]) - {"start": 0, "middle": width / 2, "end": width}[text.attrib["text-anchor"]]
    assert start >= left, text.text
    assert start + width <= right, text.text


def test_the_threshold_is_where_the_detector_raises_the_alarm(generator: np.random.Generator) -> None:
    names, level, size = ("probability.a", "probability.b", "sharpness"), 0.0005, 200

    def rows(number: int) -> npt.NDArray[np.float64]:
        return np.column_stack([np.full((number, 2), 0.5), generator.random(number)])

    reference = to_reference(names, rows(600))
    threshold = alarm_threshold(reference, size, level)
    alarms = []
    for shift in np.linspace(0, 0.5, 60):
        window = rows(size) + np.array([0, 0, shift])
        statistic = stats.ks_2samp(window[:, 2], reference.ordered[2]).statistic
        alarms.append(is_drift(count_rows(window, reference), reference, level))
        assert alarms[-1] == (statistic >= threshold)
    assert set(alarms) == {True, False}


def test_a_recording_holds_what_a_terminal_was_sent(tmp_path: Path) -> None:
    code = "import os; print(os.get_terminal_size().columns, flush=True); print('\\033[1mlast\\033[0m')"
    outputs = record([sys.executable, "-c", code], {}, is_shown=False)
    assert "".join(output.text for output in outputs) == "100\r\n\x1b[1mlast\x1b[0m\r\n"
    write_cast(outputs, tmp_path / "a.cast")
    assert [output.text for output in read_cast(tmp_path / "a.cast")] == [output.text for output in outputs]


def test_a_command_that_fails_is_an_error() -> None:
    with pytest.raises(DriftserveError, match="ended with exit status 3"):
        record(["sh", "-c", "exit 3"], {}, is_shown=False)


def test_a_frame_shows_the_screen_and_not_each_output() -> None:
    outputs = [Output(0.01, "10 %"), Output(0.02, "\r20 %"), Output(1.0, "\r\x1b[31m99 %\x1b[0m"), Output(2.0, "")]
    first, second = to_frames(outputs)
    assert [run.text for run in first.rows[0]] == ["20 %"]
    assert [(run.text, run.colour) for run in second.rows[0]] == [("99 %", "#ff7b72")]
    assert second.seconds == pytest.approx(1.0)


def test_an_animation_is_short_and_stores_a_row_once() -> None:
    outputs = [Output(60.0 * number, f"line {number % 2} <&>\r\n") for number in range(100)]
    svg = animate("make demo", outputs, "name", "words")
    ElementTree.fromstring(svg)  # noqa: S314 - it is ours
    (seconds,) = re.findall(r"film ([\d.]+)s", svg)
    assert float(seconds) <= 34
    assert svg.count(">line 0 &lt;&amp;&gt;<") == 1
