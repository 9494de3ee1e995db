"""Make the pictures of the documentation again: `python -m driftserve_pictures`, which `make pictures` runs.

The plot of drift, the model card and the recording show a run of the demo. If an earlier run was recorded, it is used.
The model card is skipped if Chromium is not installed. Exit status: 0 if the other pictures were made, 1 if one failed.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from driftserve.command_line import Parser
from driftserve.errors import DriftserveError
from driftserve.text import printable
from driftserve_pictures.animation import animate
from driftserve_pictures.card import INSTALL_CHROMIUM, SCHEMES, find_chromium, take_screenshot
from driftserve_pictures.data_flow import draw_data_flow
from driftserve_pictures.drawing import THEMES, Drawing
from driftserve_pictures.drift import draw_drift, read_phases
from driftserve_pictures.processes import draw_processes
from driftserve_pictures.recording import read_cast, record, write_cast

_COMMAND = ("make", "demo")
# Variables of the `make` that runs this program. The `make` of the demo must not get them.
_OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pictures; return the exit status."""
    options = _parser().parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    _write_drawing(draw_data_flow(), options.output, "data-flow")
    _write_drawing(draw_processes(), options.output, "processes")
    try:
        _show_demo(options.demo, options.output, options.again)
    except DriftserveError as error:
        print(f"pictures: {printable(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pictures: interrupted", file=sys.stderr)
        return 130
    return 0


def _show_demo(demo: Path, output: Path, is_again: bool) -> None:
    """Make the pictures that show a run of the demo.

    Raises:
        DriftserveError: the demo or Chromium failed.
    """
    report, cast = demo / "report.json", demo / "demo.cast"
    if is_again or not _is_recorded(report, cast):
        environment = {name: value for name, value in os.environ.items() if name not in _OF_MAKE}
        write_cast(record(_COMMAND, environment | {"TERM": "xterm-256color"}), cast)
    _write_drawing(draw_drift(*read_phases(report)), output, "drift")
    _write_animation(cast, output / "demo.svg")
    chromium = find_chromium()
    for scheme in SCHEMES:
        picture = output / f"model-card-{scheme}.png"
        if chromium is None:
            print(f"{picture}: skipped, Chromium is not installed: {INSTALL_CHROMIUM}")
        else:
            take_screenshot(chromium, demo / "card.html", scheme, picture)
            print(picture)


def _is_recorded(report: Path, cast: Path) -> bool:
    """Return whether the run that wrote the report was recorded: the recording is not older than the report."""
    return report.exists() and cast.exists() and cast.stat().st_mtime >= report.stat().st_mtime


def _write_drawing(drawing: Drawing, output: Path, name: str) -> None:
    for theme, colours in THEMES.items():
        picture = output / f"{name}-{theme}.svg"
        picture.write_text(drawing.to_svg(colours))
        print(picture)


def _write_animation(cast: Path, picture: Path) -> None:
    """Write the recording of the demo as an animated SVG.

    Raises:
        DriftserveError: the recording shows a path of this machine.
    """
    outputs = read_cast(cast)
    text = "".join(output.text for output in outputs)
    for path in (Path.cwd(), Path.home(), Path(tempfile.gettempdir())):
        if f"{path}/" in text:
            raise DriftserveError(f"{cast}: expected a recording without paths of this machine, got {path}")
    description = "make demo draws images, trains a network, serves it, sends traffic and reports where it found drift"
    picture.write_text(animate(" ".join(_COMMAND), outputs, "A run of make demo in a terminal", description))
    print(picture)


def _parser() -> Parser:
    parser = Parser(prog="python -m driftserve_pictures", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/pictures"), help="default: %(default)s")
    parser.add_argument(
        "--demo", type=Path, default=Path("build/demo"), help="the demo's folder (default: %(default)s)"
    )
    parser.add_argument("--again", action="store_true", help="run the demo even if a recording of it exists")
    return parser


if __name__ == "__main__":
    sys.exit(main())
