"""The headings of docs/troubleshooting.md quote messages that the code still has."""

import ast
import re
from collections.abc import Iterator, Sequence

import pytest

from checkout import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGES = ("handler", "training", "pipeline", "demo", "benchmark", "container")

_THEIRS = re.compile(r"\(from [^)]+\)$")
_QUOTED = re.compile(r"`([^`]+)`")
_PLACEHOLDER = "{}"


def test_every_message_of_ours_is_in_the_code() -> None:
    stale = stale_headings(PAGE.read_text(), [*_python_messages(), *_makefile_messages()])
    assert not stale, "docs/troubleshooting.md quotes messages that the code does not have:\n" + "\n".join(stale)


def test_a_stale_heading_is_named() -> None:
    page = "### `port ... cannot be used`\n### `port is taken`\n### `Bus error` (from PyTorch)\n### No metrics\n"
    assert stale_headings(page, ["port {} of {} cannot be used: {}"]) == ["### `port is taken`"]


@pytest.mark.parametrize(
    ("source", "messages"),
    [
        ('raise E(f"{path}: expected one, " f"got {number:d}; correct it")', ["{}: expected one, got {}; correct it"]),
        ('logger.error("%s lost %d metrics", name, 3)', ["{} lost {} metrics"]),
        ('def f():\n    """a docstring"""\n    return "a value"', ["a value"]),
    ],
)
def test_messages_are_read_as_a_person_sees_them(source: str, messages: Sequence[str]) -> None:
    assert list(_messages(source)) == messages


def stale_headings(page: str, messages: Sequence[str]) -> list[str]:
    """Return the headings of the page that quote something which is in no message; skip those of other programs."""
    headings = [line for line in page.splitlines() if line.startswith("### ") and not _THEIRS.search(line)]
    return [heading for heading in headings if not all(_is_in(messages, part) for part in _QUOTED.findall(heading))]


def _is_in(messages: Sequence[str], quoted: str) -> bool:
    pattern = re.compile(".*".join(map(re.escape, quoted.split("..."))))
    return any(map(pattern.search, messages))


def _python_messages() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield from _messages(path.read_text())


def _makefile_messages() -> list[str]:
    messages = re.findall(
        r'(?:echo|printf) "(.+?)(?:\\n)?" (?:\$\(call quoted,.+?\)+ )?>&2', (ROOT / "Makefile").read_text()
    )
    return [message.replace("%s", _PLACEHOLDER) for message in messages]


def _messages(source: str) -> Iterator[str]:
    """Yield the strings of a module, except docstrings, with `{}` for each value that is filled in."""
    tree = ast.parse(source)
    skipped: set[int] = set()
    for node in ast.walk(tree):  # parents come before their children
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
        elif id(node) in skipped:
            continue
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in ast.walk(node)}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else _PLACEHOLDER for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"%[-.\d]*[sdfr]", _PLACEHOLDER, node.value)
