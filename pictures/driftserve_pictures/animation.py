"""Turn a recording of a terminal into one animated SVG: a film strip of screens that moves past a window.

A row of text that is on several screens is stored once. Readers whose system asks for less motion see only the last
screen.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import pyte
from pyte.screens import Char

from driftserve_pictures.recording import COLUMNS, ROWS, Output

_MOST_PAUSE_SECONDS = 1.0  # longer pauses are shortened to this
_MOST_SECONDS = 20.0  # longest duration of the command; a longer one is played faster
_TYPING_SECONDS = 0.07  # time for each letter of the command line
_HOLD_SECONDS = 6.0  # how long the last screen stays
_FRAME_SECONDS = 0.1  # shortest time between two screens

_CELL_WIDTH, _ROW_HEIGHT, _FONT_SIZE = 8.4, 18.0, 14.0  # pixels
_SIDE, _BAR = 14.0, 38.0  # pixels of the margin around the text, and of the window's title bar
_FONT = "ui-monospace, SFMono-Regular, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
_GROUND, _EDGE, _INK = "#0d1117", "#30363d", "#c9d1d9"
_COLOURS = {  # the colours of GitHub's dark terminal, by pyte's names; pyte calls yellow brown
    "black": "#484f58",
    "red": "#ff7b72",
    "green": "#3fb950",
    "brown": "#d29922",
    "blue": "#58a6ff",
    "magenta": "#bc8cff",
    "cyan": "#39c5cf",
    "white": "#b1bac4",
    "brightblack": "#6e7681",
    "brightred": "#ffa198",
    "brightgreen": "#56d364",
    "brightbrown": "#e3b341",
    "brightblue": "#79c0ff",
    "brightmagenta": "#d2a8ff",
    "bfightmagenta": "#d2a8ff",  # pyte's spelling
    "brightcyan": "#56d4dd",
    "brightwhite": "#f0f6fc",
}


@dataclass(frozen=True)
class Run:
    """A part of a row with the same colours and weight; `ground` is its background, None for that of the window."""

    column: int
    text: str
    colour: str
    ground: str | None
    is_bold: bool


Row = tuple[Run, ...]


@dataclass(frozen=True)
class Frame:
    """A screen, and when it appears, in seconds since the start."""

    seconds: float
    rows: tuple[Row, ...]


def animate(prompt: str, outputs: Sequence[Output], name: str, description: str) -> str:
    """Return an SVG that shows how the command line `prompt` is typed, and then the recording."""
    frames = list(to_frames([*_type(prompt), *_compress(outputs, len(prompt) * _TYPING_SECONDS + 0.5)]))
    return _to_svg(frames, name, description)


def to_frames(outputs: Sequence[Output]) -> Iterator[Frame]:
    """Yield the screens of a recording: each change, but at most one in `_FRAME_SECONDS`."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    shown: tuple[Row, ...] | None = None
    for index, output in enumerate(outputs):
        stream.feed(output.text)
        slot = int(output.seconds / _FRAME_SECONDS)
        if index + 1 < len(outputs) and int(outputs[index + 1].seconds / _FRAME_SECONDS) == slot:
            continue
        rows = tuple(_read_row([screen.buffer[row][column] for column in range(COLUMNS)]) for row in range(ROWS))
        if rows != shown:
            yield Frame(slot * _FRAME_SECONDS, rows)
            shown = rows


def _type(prompt: str) -> Iterator[Output]:
    """Yield a `$` and then the command line, a letter at a time."""
    yield Output(0.0, "\x1b[32m$\x1b[0m ")
    for index, letter in enumerate(prompt):
        yield Output(0.3 + index * _TYPING_SECONDS, letter)
    yield Output(0.4 + len(prompt) * _TYPING_SECONDS, "\r\n")


def _compress(outputs: Sequence[Output], start: float) -> list[Output]:
    """Return the outputs from `start` on with shorter pauses, faster if they take too long, and a `$` at the end."""
    times, now, before = [], 0.0, 0.0
    for output in outputs:
        now += min(output.seconds - before, _MOST_PAUSE_SECONDS)
        before = output.seconds
        times.append(now)
    speed = max(1.0, now / _MOST_SECONDS)
    played = [Output(start + time / speed, output.text) for time, output in zip(times, outputs, strict=True)]
    return [*played, Output(start + now / speed + 0.3, "\x1b[32m$\x1b[0m ")]


def _read_row(cells: Sequence[Char]) -> Row:
    runs: list[Run] = []
    column = 0
    while column < len(cells):
        look = _look(cells[column])
        end = column
        while end < len(cells) and _look(cells[end]) == look:
            end += 1
        runs += _split("".join(cell.data for cell in cells[column:end]), column, look)
        column = end
    return tuple(runs)


def _look(cell: Char) -> tuple[str, str | None, bool]:
    """Return the colour of a cell's text, the colour of its background, and whether the text is bold."""
    colour, ground = _colour(cell.fg, _INK), None if cell.bg == "default" else _colour(cell.bg, _GROUND)
    if cell.reverse:
        colour, ground = ground or _GROUND, colour
    return colour, ground, cell.bold


def _split(text: str, column: int, look: tuple[str, str | None, bool]) -> Iterator[Run]:
    """Yield the text in parts without long blanks, because a font's blank may be narrower than a cell.

    Text with a background stays in one part.
    """
    colour, ground, is_bold = look
    for found in re.finditer(r".+" if ground else r"\S+(?: \S+)*", text):
        yield Run(column + found.start(), found.group(), colour, ground, is_bold)


def _colour(name: str, default: str) -> str:
    if name == "default":
        return default
    return _COLOURS.get(name) or f"#{name}"


def _to_svg(frames: Sequence[Frame], name: str, description: str) -> str:
    width, height = COLUMNS * _CELL_WIDTH, ROWS * _ROW_HEIGHT
    seconds = frames[-1].seconds + _HOLD_SECONDS
    identities: dict[Row, str] = {}
    screens = []
    for index, frame in enumerate(frames):
        uses = []
        for number, row in enumerate(frame.rows):
            if row:
                identity = identities.setdefault(row, f"r{len(identities)}")
                uses.append(f'<use href="#{identity}" y="{index * height + number * _ROW_HEIGHT:g}"/>')
        screens.append("".join(uses))
    steps = "".join(
        f"{100 * frame.seconds / seconds:.2f}%{{transform:translateY({-index * height:g}px)}}"
        for index, frame in enumerate(frames)
    )
    last = -(len(frames) - 1) * height
    rows = "\n".join(f'<g id="{identity}">{_row_to_svg(row)}</g>' for row, identity in identities.items())
    dots = "".join(
        f'<circle cx="{20 + 20 * place}" cy="{_BAR / 2:g}" r="6" fill="{colour}"/>'
        for place, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    full_width, full_height = width + 2 * _SIDE, height + _BAR + _SIDE
    style = (
        f"text{{font:{_FONT_SIZE:g}px {_FONT}}}.b{{font-weight:bold}}"
        f"#film{{transform:translateY({last:g}px);animation:film {seconds:.1f}s steps(1,end) infinite}}"
        f"@keyframes film{{{steps}100%{{transform:translateY({last:g}px)}}}}"
        "@media(prefers-reduced-motion:reduce){#film{animation:none}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{full_width:g}" height="{full_height:g}" '
        f'viewBox="0 0 {full_width:g} {full_height:g}" fill="{_INK}" role="img" aria-labelledby="name description">\n'
        f'<title id="name">{escape(name)}</title>\n<desc id="description">{escape(description)}</desc>\n'
        f"<style>{style}</style>\n<defs>\n{rows}\n</defs>\n"
        f'<rect x="0.5" y="0.5" width="{full_width - 1:g}" height="{full_height - 1:g}" rx="10" fill="{_GROUND}" '
        f'stroke="{_EDGE}"/>\n{dots}\n'
        f'<svg x="{_SIDE:g}" y="{_BAR:g}" width="{width:g}" height="{height:g}" overflow="hidden"><g id="film">\n'
        + "\n".join(screens)
        + "\n</g></svg>\n</svg>\n"
    )


def _row_to_svg(row: Row) -> str:
    parts = []
    for run in row:
        x, width = run.column * _CELL_WIDTH, len(run.text) * _CELL_WIDTH
        if run.ground is not None:
            parts.append(f'<rect x="{x:g}" width="{width:g}" height="{_ROW_HEIGHT:g}" fill="{run.ground}"/>')
        if run.text.strip():
            look = (' class="b"' if run.is_bold else "") + (f' fill="{run.colour}"' if run.colour != _INK else "")
            size = f'textLength="{width:g}" lengthAdjust="spacingAndGlyphs"'
            parts.append(f'<text x="{x:g}" y="{_ROW_HEIGHT * 0.75:g}" {size}{look}>{escape(run.text)}</text>')
    return "".join(parts)
