"""Shapes on a canvas, written as SVG in a light and a dark theme.

A shape has a role, such as `ink` or `serve`, and a theme has a colour for each role. So one drawing serves both themes.
The background is transparent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

Role = Literal["ink", "soft", "line", "fill", "panel", "serve", "watch", "serve-fill", "watch-fill"]
Theme = dict[Role, str]
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]

# Grey and fill follow GitHub's own colours. Blue and orange can be distinguished by colour-blind readers
# (Okabe and Ito 2008); each theme has a tone with enough contrast for text.
THEMES: dict[str, Theme] = {
    "light": {
        "ink": "#1f2328",
        "soft": "#59636e",
        "line": "#6e7781",
        "fill": "#ffffff",
        "panel": "#f6f8fa",
        "serve": "#0a5c99",
        "watch": "#b34700",
        "serve-fill": "#e3f0fa",
        "watch-fill": "#fdece0",
    },
    "dark": {
        "ink": "#e6edf3",
        "soft": "#9da7b1",
        "line": "#8b949e",
        "fill": "#1c2128",
        "panel": "#151a21",
        "serve": "#6cb6ff",
        "watch": "#f5935a",
        "serve-fill": "#12283d",
        "watch-fill": "#3a2214",
    },
}
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"

_CORNER = 10.0  # radius of a box
_HEAD = 10.0  # length of an arrow's head
_LINE_HEIGHT = 1.22  # height of a line of text, as a multiple of the font size


@dataclass(frozen=True)
class Text:
    """A line of text: its size in pixels, the role of its colour, and whether it is bold."""

    words: str
    size: float = 16
    role: Role = "soft"
    is_bold: bool = False


@dataclass(frozen=True)
class Box:
    """A rectangle: its left upper corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of the bottom edge."""
        return self.y + self.height

    @property
    def center(self) -> float:
        """The x of the middle."""
        return self.x + self.width / 2

    @property
    def middle(self) -> float:
        """The y of the middle."""
        return self.y + self.height / 2


def title(words: str) -> Text:
    """Return a text in the style of a box's name."""
    return Text(words, 22, "ink", is_bold=True)


@dataclass
class Drawing:
    """A canvas that collects shapes; later shapes lie over earlier ones.

    A screen reader reads `name` and `description` aloud. Sizes are in pixels.
    """

    name: str
    description: str
    width: float
    height: float
    _shapes: list[str] = field(default_factory=list)

    def box(self, box: Box, texts: Sequence[Text], role: Role = "line", fill: Role = "fill", top: float = 0) -> None:
        """Draw a box with lines of text in its middle, or `top` pixels below its upper edge."""
        heights = [text.size * _LINE_HEIGHT for text in texts]
        y = box.y + top if top else box.middle - sum(heights) / 2
        lines = []
        for text, height in zip(texts, heights, strict=True):
            lines.append(_text(text, (box.center, y + height / 2 + text.size * 0.35), "middle"))
            y += height
        shape = f'<rect {_place(box)} rx="{_CORNER:g}" class="{fill} {role}-edge"/>'
        self._shapes.append(f"<g>{shape}{''.join(lines)}</g>")

    def panel(self, box: Box) -> None:
        """Draw the background of a group of boxes."""
        self._shapes.append(f'<rect {_place(box)} rx="{_CORNER + 4:g}" class="panel"/>')

    def text(self, text: Text, at: Point, anchor: Anchor = "start") -> None:
        """Draw a line of text whose baseline is at a point."""
        self._shapes.append(_text(text, at, anchor))

    def arrow(self, start: Point, end: Point, role: Role = "line") -> None:
        """Draw a horizontal or vertical arrow."""
        length = abs(end[0] - start[0]) + abs(end[1] - start[1])
        along, up = ((end[0] - start[0]) / length * _HEAD, (end[1] - start[1]) / length * _HEAD)
        neck = (end[0] - along, end[1] - up)
        wings = [(neck[0] + sign * up / 2, neck[1] + sign * along / 2) for sign in (1, -1)]
        self.line([start, neck], role)
        self._shapes.append(f'<path d="{_path([end, *wings])}Z" class="{role}"/>')

    def line(self, points: Sequence[Point], role: Role = "line", is_dashed: bool = False) -> None:
        """Draw a line along points."""
        dash = ' stroke-dasharray="6 5"' if is_dashed else ""
        self._shapes.append(f'<path d="{_path(points)}" class="{role}-stroke"{dash}/>')

    def tile(self, box: Box, role: Role, radius: float = 2) -> None:
        """Draw a filled rectangle without an edge."""
        self._shapes.append(f'<rect {_place(box)} rx="{radius:g}" class="{role}"/>')

    def dot(self, at: Point, radius: float, role: Role, opacity: float = 1) -> None:
        """Draw a filled circle."""
        faint = f' opacity="{opacity:g}"' if opacity < 1 else ""
        self._shapes.append(f'<circle cx="{at[0]:g}" cy="{at[1]:g}" r="{radius:g}" class="{role}"{faint}/>')

    def to_svg(self, theme: Theme) -> str:
        """Return the drawing as an SVG file."""
        style = "".join(
            f".{role}{{fill:{colour}}}.{role}-edge{{stroke:{colour};stroke-width:1.5}}"
            f".{role}-stroke{{stroke:{colour};stroke-width:2.2;fill:none}}"
            for role, colour in theme.items()
        )
        shapes = "\n".join(self._shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:g}" height="{self.height:g}" '
            f'viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-labelledby="name description">\n'
            f'<title id="name">{escape(self.name)}</title>\n<desc id="description">{escape(self.description)}</desc>\n'
            f"<style>text{{font-family:{FONT}}}.bold{{font-weight:600}}{style}</style>\n{shapes}\n</svg>\n"
        )


def _place(box: Box) -> str:
    return f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'


def _text(text: Text, at: Point, anchor: Anchor) -> str:
    bold = " bold" if text.is_bold else ""
    place = f'x="{at[0]:.4g}" y="{at[1]:.4g}" text-anchor="{anchor}" font-size="{text.size:g}"'
    return f'<text {place} class="{text.role}{bold}">{escape(text.words, quote=False)}</text>'


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
