"""Command `report`: write the model card of a trained network, or check that an archive contains its digests."""

import argparse
from pathlib import Path

from driftserve_training.commands.command import Command


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trained", type=Path, required=True, metavar="RUN", help="the --output of `train`, after `evaluate`"
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--output",
        type=_page,
        metavar="FILE.html",
        help="HTML page to write; the same content is written as .json in the same folder (default: RUN/card.html)",
    )
    group.add_argument(
        "--archive",
        type=Path,
        metavar="FILE.mar",
        help="write nothing; check that this archive contains the digests of RUN's card.html and card.json",
    )


def _run(options: argparse.Namespace) -> dict[str, object]:
    from driftserve_training.card.card import gather
    from driftserve_training.card.files import DOCUMENT_FILE, PAGE_FILE, check_card, render, write_card

    if options.archive:
        check_card(options.trained, options.archive)
        return {"card": str(options.trained / DOCUMENT_FILE), "archive": str(options.archive)}
    files = render(gather(options.trained))
    page = options.output or options.trained / PAGE_FILE
    write_card(files, page)
    return {"card": str(page), **files.digests}


def _page(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".html":
        raise argparse.ArgumentTypeError(f"expected a name that ends in .html, got {text!r}")
    return path


REPORT = Command("write the model card of a trained network as an HTML page and as JSON", _add_arguments, _run)
