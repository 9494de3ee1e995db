"""Verification: what makes an archive trusted, before anything of it is served."""

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
    """An archive that was accepted: its contract, its content digest, and the directory to serve it from."""

    contract: Contract
    digest: str
    directory: Path


def verify_archive(archive: Path, destination: Path, allowed: Collection[str]) -> Verified:
    """Unpack an archive into `destination` and pass if it is allowed, whole, and still answers as it was exported.

    The graph, which is code, is not loaded before all else was accepted.

    Args:
        archive: not trusted in any way.
        destination: a directory that is empty, or is made here; after an error its content is worth nothing.
        allowed: the content digests that may be served; any when empty.

    Raises:
        ArchiveError: the archive is refused; one line says why.
    """
    contract = unpack_archive(archive, destination)
    digest = directory_digest(destination, contract)
    if allowed and digest not in allowed:
        raise ArchiveError(
            f"{archive.name}: expected a content digest of {', '.join(sorted(allowed))}, got {digest}; "
            "DRIFTSERVE_ARCHIVE_SHA256 lists what may be served"
        )
    try:
        _check_answers(destination, contract)
    except DriftserveError as error:
        raise ArchiveError(f"{archive.name}: {one_line(error)}") from error
    return Verified(contract, digest, destination)


def check_fit(contract: Contract, model: Model) -> None:
    """Pass if the graph is the one that the contract describes: fail at start, not at the first request.

    Raises:
        ArchiveError: the sizes of the graph's outputs, or the features of the reference, are others.
    """
    output = model(preprocess([np.zeros((1, 1, 3), np.uint8)], contract.image_spec))
    expected = ((1, len(contract.labels)), (1, contract.embedding_size))
    if (got := (output.logits.shape, output.embedding.shape)) != expected:
        raise ArchiveError(f"model.pt: expected logits and embedding of shapes {expected}, got {got}; export it again")
    if contract.feature_names != (names := feature_names(contract.labels, contract.embedding_size)):
        raise ArchiveError(
            f"contract.json: expected a reference of {', '.join(names)}, got {', '.join(contract.feature_names)}; "
            "serve it with the driftserve that wrote it, or export it again"
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
    """The pixels, (H, W, 3) uint8, of a golden image; lossless, so that every decoder gives the same."""
    body = path.read_bytes()
    if not body.startswith(PNG_SIGNATURE):
        raise ArchiveError(f"{path.name}: expected a PNG, got other bytes; export the archive again")
    return decode(body)
