"""The files of a model card: `card.html` for people and `card.json` for programs. An archive names their digests."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from driftserve.archive.contract import file_sha256
from driftserve.archive.reading import find_archive, read_contract
from driftserve.errors import DataError
from driftserve_training.card.card import ModelCard, card_to_json
from driftserve_training.card.page import to_page

PAGE_FILE = "card.html"
DOCUMENT_FILE = "card.json"


@dataclass(frozen=True)
class CardFiles:
    """The bytes of a card's two files."""

    page: bytes
    document: bytes

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of both files, by their names in an archive's provenance."""
        return {
            "card_sha256": hashlib.sha256(self.document).hexdigest(),
            "card_page_sha256": hashlib.sha256(self.page).hexdigest(),
        }


def render(card: ModelCard) -> CardFiles:
    """Return the files of a card, the same bytes for the same card."""
    document = card_to_json(card)
    return CardFiles(to_page(card, hashlib.sha256(document).hexdigest()).encode(), document)


def write_card(files: CardFiles, page: Path) -> None:
    """Write the page to a path, and the JSON beside it."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_bytes(files.page)
    page.with_suffix(".json").write_bytes(files.document)


def check_card(directory: Path, archive: Path) -> None:
    """Check that the card in a directory has the digests that the archive names. This does not render the card.

    Args:
        directory: directory with `card.html` and `card.json`: a run's folder, or a copy.
        archive: a `.mar`, or a directory that holds one.

    Raises:
        DataError: the card is missing or has other digests, or the archive names no digests.
        ArchiveError: the archive cannot be read.
    """
    archive = find_archive(archive)
    provenance = read_contract(archive).provenance
    for name, file in (("card_sha256", DOCUMENT_FILE), ("card_page_sha256", PAGE_FILE)):
        expected = provenance.get(name)
        if expected is None:
            raise DataError(f"{archive}: expected {name} in the provenance, got none; export the archive again")
        if not (directory / file).is_file():
            raise DataError(f"{directory}: expected {file}, got none; give the folder that `export` wrote the card to")
        if (got := file_sha256(directory / file)) != expected:
            raise DataError(
                f"{directory / file}: expected the card of {archive.name}, SHA-256 {expected}, got {got}; "
                "give the card of this export, or export again"
            )
