"""Verifies an archive before any part of it is served."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from driftserve.archive.contract import Contract
from driftserve.archive.golden import golden_mismatch
from driftserve.archive.reading import directory_digest, unpack_archive
from driftserve.drift.features import feature_names
from driftserve.errors import ArchiveError, DriftserveError
from driftserve.images.decode import PNG_SIGNATURE, decode
from driftserve.images.preprocess import preprocess
from driftserve.inference.model import Model, load_model
from driftserve.inference.prediction import calibrate, to_prediction
from driftserve.text import one_line


@dataclass(frozen=True)
class Verified:
    """A verified archive: its contract, its content digest, and the directory to serve it from."""

    contract: Contract
    digest: str
    directory: Path


def verify_archive(archive: Path, destination: Path, allowed: Collection[str]) -> Verified:
    """Unpack an archive into `destination`; check that it is allowed and complete, and predicts as it did at export.

    The graph is code, so it is loaded last, after all other checks.

    Args:
        archive: an untrusted file or directory.
        destination: an empty or new directory; its content is not usable after an error.
        allowed: the content digests that may be served; if empty, every archive may be served.

    Raises:
        ArchiveError: the archive is rejected; the message is one line.
    """
    contract = unpack_archive(archive, destination)
    digest = directory_digest(destination, contract)
    if allowed and digest not in allowed:
        raise ArchiveError(
            f"{archive.name}: expected a content digest of {', '.join(sorted(allowed))}, got {digest}; "
            "serve an allowed archive, or add the digest to DRIFTSERVE_ARCHIVE_SHA256"
        )
    try:
        _check_answers(destination, contract)
    except DriftserveError as error:
        raise ArchiveError(f"{archive.name}: {one_line(error)}") from error
    return Verified(contract, digest, destination)


def check_fit(contract: Contract, model: Model) -> None:
    """Check at start, not at the first request, that the graph matches the contract.

    Raises:
        ArchiveError: the graph's outputs have other sizes, or the reference has other features.
    """
    output = model(preprocess([np.zeros((1, 1, 3), np.uint8)], contract.image_spec))
    expected = ((1, len(contract.labels)), (1, contract.embedding_size))
    if (got := (output.logits.shape, output.embedding.shape)) != expected:
        raise ArchiveError(
            f"model.pt: expected logits and embedding of shapes {expected}, got {got}; export the archive again"
        )
    if contract.feature_names != (names := feature_names(contract.labels, contract.embedding_size)):
        raise ArchiveError(
            f"contract.json: expected the features {', '.join(names)}, got {', '.join(contract.feature_names)}; "
            "serve the archive with the driftserve version that wrote it, or export it again"
        )


def _check_answers(directory: Path, contract: Contract) -> None:
    images = [_read_golden(directory / golden.file) for golden in contract.golden]
    model = load_model(directory, contract)
    check_fit(contract, model)
    for golden, image in zip(contract.golden, images, strict=True):
        pixels = preprocess([image], contract.image_spec)
        answer = to_prediction(calibrate(model(pixels).logits, contract.temperature)[0], contract.labels)
        if mismatch := golden_mismatch(golden, contract.labels, answer.probabilities):
            raise ArchiveError(f"{mismatch}; export the archive again")


def _read_golden(path: Path) -> npt.NDArray[np.uint8]:
    """Return the pixels of a golden image, (H, W, 3) uint8. PNG is lossless, so all decoders give the same pixels."""
    body = path.read_bytes()
    if not body.startswith(PNG_SIGNATURE):
        raise ArchiveError(f"{path.name}: expected a PNG, got other bytes; export the archive again")
    return decode(body)
