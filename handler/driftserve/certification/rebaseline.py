"""Gives a model a new reference: recorded traffic that the user accepts, instead of the validation images."""

import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from driftserve.archive.certificate import Certificate
from driftserve.archive.contract import MODEL_FILE, WINDOWS_IN_LONG, Contract, ModelVersion
from driftserve.archive.reading import read_archive
from driftserve.archive.writing import place, write_archive
from driftserve.certification.measurement import SHORT, certify
from driftserve.certification.population import Population, Rows, image_files, score_population
from driftserve.drift.reference import estimate_accuracy, mean_confidence, read_reference, sample_images
from driftserve.errors import DataError
from driftserve.inference.model import load_model
from driftserve.inference.scoring import score
from driftserve.inference.verification import verify_archive
from driftserve.observations.observation import ObservationBatch
from driftserve.observations.replay import recorded_batches

_SEED = 0
_VERSION: TypeAdapter[str] = TypeAdapter(ModelVersion)
_CALM_ONLY = replace(SHORT, cells=(), images=0)


@dataclass(frozen=True)
class Rebaselined:
    """The written archive, and the number of recorded images in its new reference."""

    archive: Path
    rows: int


def rebaseline(
    archive: Path,
    lines: Iterable[bytes],
    version: str,
    output: Path,
    images: Path | None = None,
    allowed: Collection[str] = (),
    server_name: str | None = None,
) -> Rebaselined:
    """Write `<output>/<name>.mar`: the same model as a new version, with recorded observations as its reference.

    Each image counts once. Test traffic and failures do not count. If there are more images than a reference may have,
    a random sample is kept. The accuracy on the new reference is estimated from the confidence on the new and the old
    one. False alarms are measured on random halves of the new reference. Power is measured on random halves of
    `images`, since the record has no pixels.

    Args:
        archive: The archive that served the traffic.
        lines: Lines of the record, whose traffic the caller accepts as normal.
        version: Version of the new archive.
        output: Output directory; created if it does not exist.
        images: Folder of images similar to the traffic, searched with its subfolders. Without it, power is not
            measured.
        allowed: As in `verify_archive`.
        server_name: As in `recorded_batches`.

    Raises:
        DataError: The record has too few images, an invalid line, or several served models; there are too few
            `images`; the version is the archive's own, or not one; `output` already has an archive of this name.
        ArchiveError: The archive is rejected, or the record has only other archives' traffic.
    """
    contract, digest = read_archive(archive)
    _check_version(version)
    if version == contract.version:
        raise DataError(f"expected another version than the archive's own, {version}; give a new one")
    target = output / f"{contract.name}.mar"
    if target.exists():
        raise DataError(f"{target} exists already; give another --output")
    rows = _recorded_rows(recorded_batches(lines, contract, digest, server_name), contract)
    with tempfile.TemporaryDirectory() as scratch:
        verified = verify_archive(archive, Path(scratch, "old"), allowed)
        golden = {image.file: (verified.directory / image.file).read_bytes() for image in contract.golden}
        certificate = _certificate(contract, rows, images, verified.directory)
        new = _rebaselined(contract, digest, version, rows, certificate)
        written = write_archive(Path(scratch, "written"), new, verified.directory / MODEL_FILE, golden)
        verify_archive(written, Path(scratch, "new"), allowed=())
        output.mkdir(parents=True, exist_ok=True)
        place(written, target)
    return Rebaselined(target, len(rows))


def _check_version(version: str) -> None:
    try:
        _VERSION.validate_python(version)
    except ValidationError as error:
        raise DataError(
            f"expected a version such as 2 or 1.0-b, got {version[:80]!r}; give another --new-version"
        ) from error


def _recorded_rows(batches: Iterable[ObservationBatch], contract: Contract) -> Rows:
    """Return the features of the recorded images, one row for each distinct image."""
    rows: list[tuple[float, ...]] = []
    seen: set[str] = set()
    for batch in batches:
        for observation in batch.observations:
            features, image_id = observation.features, observation.image_id
            if features is None or len(features) != len(contract.reference) or image_id in seen:
                continue
            if image_id is not None:
                seen.add(image_id)
            rows.append(features)
    least = contract.drift.window_size * WINDOWS_IN_LONG
    if len(rows) < least:
        raise DataError(
            f"expected a record of at least {least} images, as many as in a long window, got {len(rows)}; record more"
        )
    return np.array(rows)[sample_images(len(rows), len(contract.reference), _SEED)]


def _rebaselined(contract: Contract, digest: str, version: str, rows: Rows, certificate: Certificate) -> Contract:
    return contract.model_copy(
        update={
            "version": version,
            "reference": dict(zip(contract.feature_names, map(tuple, rows.T.tolist()), strict=True)),
            "reference_accuracy": estimate_accuracy(
                mean_confidence(rows, len(contract.labels)),
                read_reference(contract.reference),
                contract.reference_accuracy,
            ),
            "certificate": certificate,
            "provenance": contract.provenance
            | {
                "rebaselined_from": digest,
                "rebaselined_images": len(rows),
                "reference_accuracy": "estimated from confidence, not measured",
            },
        }
    )


def _certificate(contract: Contract, rows: Rows, folder: Path | None, model_dir: Path) -> Certificate:
    recorded = Population(contract.feature_names, rows, np.array([], np.int64), {}, None)
    source = f"{len(rows)} recorded images in random halves, whatever their order in time"
    calm = certify(recorded, contract.drift, _CALM_ONLY, source, _SEED)
    if folder is None:
        return calm.model_copy(update={"source": f"{source}; no images were given, so power was not measured"})
    files = image_files(folder, "**/*")
    model = load_model(model_dir, contract)
    scorer = partial(score, model=model, spec=contract.image_spec, temperature=contract.temperature)
    population = score_population(files, None, contract.feature_names, scorer, SHORT.cells, SHORT.images, _SEED)
    measured = certify(population, contract.drift, SHORT, source, _SEED)
    return measured.model_copy(
        update={
            "source": f"false alarms: {source}; power: {len(files)} images at 224x224, in random halves, "
            f"against references of {measured.reference_images}",
            "false_alarms": calm.false_alarms,
            "reference_images": calm.reference_images,
        }
    )
