"""Every link in the Markdown pages leads to a file of the repository, and to a heading that the file has."""

import re
import subprocess
from pathlib import Path

import pytest

from checkout import ROOT

_LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)\"""")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def _pages() -> list[Path]:
    known = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(known, cwd=ROOT, capture_output=True, text=True)
    names = done.stdout.splitlines() if done.returncode == 0 else [str(path) for path in ROOT.rglob("*.md")]
    return [ROOT / name for name in names if (ROOT / name).exists()]


def broken_links(page: Path) -> list[str]:
    """Return the links of a page whose file or heading does not exist; addresses on other hosts are skipped."""
    broken = []
    for groups in _LINK.findall(_CODE.sub("", page.read_text())):
        link = "".join(groups)
        if re.match(r"[a-z]+:", link):
            continue
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (heading and heading not in _anchors(target)):
            broken.append(link)
    return broken


def _anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE), re.M
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_resolves() -> None:
    pages = _pages()
    assert ROOT / "README.md" in pages
    broken = {str(page.relative_to(ROOT)): links for page in pages if (links := broken_links(page))}
    assert not broken


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("# Top\n[a](#top) [b](other.md#a-heading) [c](https://example.org/x)", []),
        ("[a](#nowhere)", ["#nowhere"]),
        ("[a](missing.md)", ["missing.md"]),
        ('<img src="missing.svg">', ["missing.svg"]),
        ("[a](other.md#nowhere)", ["other.md#nowhere"]),
        ("`[a](missing.md)`\n\n```\n[a](missing.md)\n```", []),
    ],
)
def test_a_broken_link_is_found(tmp_path: Path, text: str, broken: list[str]) -> None:
    (tmp_path / "other.md").write_text("## A `heading`\n")
    page = tmp_path / "page.md"
    page.write_text(text)
    assert broken_links(page) == broken
