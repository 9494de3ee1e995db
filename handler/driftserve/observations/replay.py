"""Replays recorded observations, which gives the same drift reports as the live monitor."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import get_args

from pydantic import ConfigDict, TypeAdapter

from driftserve.archive.contract import Contract, DriftPolicy
from driftserve.drift.calibration import NOT_CALIBRATED, CalibrationProgress
from driftserve.drift.overrides import NO_OVERRIDES, DriftOverrides
from driftserve.drift.report import DriftReport
from driftserve.drift.watch import DriftWatch, Progress
from driftserve.drift.window import WindowImages
from driftserve.errors import ArchiveError, DataError
from driftserve.observations.observation import ObservationBatch, batch_from_bytes
from driftserve.settings import LabelShift

_CALIBRATIONS = TypeAdapter(dict[str, CalibrationProgress], config=ConfigDict(allow_inf_nan=False))
_HEADER = b'{"observations_before":'


@dataclass(frozen=True)
class _Header:
    """The first line of a part of a record: the progress when the part began, and the operator's drift settings."""

    before: Mapping[str, Progress]
    overrides: DriftOverrides = NO_OVERRIDES


class _LiveWindow:
    """Counts observations in the live monitor's windows, since these decide which images are duplicates."""

    def __init__(self, size: int, before: Progress) -> None:
        self.observations = before.observations
        self._images = WindowImages(size, before.observations, before.image_ids)

    def add(self, batch: ObservationBatch, columns: int) -> None:
        for observation in batch.observations:
            features, image_id = observation.features, observation.image_id
            if features is not None and len(features) == columns and not self._images.has(image_id):
                self.observations += 1
                self._images.add(image_id)


def replay(
    lines: Iterable[bytes],
    contract: Contract,
    digest: str,
    overrides: DriftOverrides = NO_OVERRIDES,
) -> Iterator[DriftReport]:
    """Yield the reports on the recorded observations of one model. They equal the live monitor's reports.

    If the record begins in the middle of a window, skip the rest of that window. At a restart of the monitor, start new
    windows.

    Args:
        lines: Lines of the record, oldest first.
        contract: Contract of the archive that the observations are tested against.
        digest: Content digest of the same archive; batches of other models are skipped.
        overrides: Replace the live monitor's settings, which the record contains.

    Raises:
        ArchiveError: There are observations, but none of this model.
        DataError: A line is not in the record's format; the message gives its number.
    """
    header = _Header({})
    watch = _watch(contract, overrides, header, Progress())
    live = _LiveWindow(contract.drift.window_size, Progress())
    models = set()
    for entry in _entries(lines):
        if isinstance(entry, _Header):
            before = entry.before.get(digest, Progress())
            if before.observations != live.observations or entry.overrides != header.overrides:
                # Lines are missing before this header, or another monitor process began here.
                live = _LiveWindow(entry.overrides.window_size or contract.drift.window_size, before)
                watch = _watch(contract, overrides, entry, before)
            header = entry
            continue
        models.add(entry.model)
        if entry.model == digest:
            live.add(entry, len(contract.reference))
            yield from _reports(watch, entry)
    _check_models(models, digest)


def recorded_batches(lines: Iterable[bytes], digest: str) -> Iterator[ObservationBatch]:
    """Yield the batches of one model in a record, in order.

    Raises:
        ArchiveError: There are observations, but none of this model.
        DataError: A line is not in the record's format; the message gives its number.
    """
    models = set()
    for entry in _entries(lines):
        if isinstance(entry, ObservationBatch):
            models.add(entry.model)
            if entry.model == digest:
                yield entry
    _check_models(models, digest)


def record_header(
    before: Mapping[str, Progress],
    overrides: DriftOverrides = NO_OVERRIDES,
) -> bytes:
    """Return the first line of a part of a record, without a newline. `replay` needs it to continue the windows.

    Args:
        before: Progress of each model's watch since the monitor started, by digest; models without any may be missing.
        overrides: The operator's drift settings.
    """
    policy = asdict(overrides)
    numbers = {digest: progress.observations for digest, progress in before.items()}
    image_ids = {digest: progress.image_ids for digest, progress in before.items() if progress.image_ids}
    calibrations = {
        digest: asdict(progress.calibration)
        for digest, progress in before.items()
        if progress.calibration != NOT_CALIBRATED
    }
    header = {
        "observations_before": numbers,
        "image_ids_before": image_ids,
        "calibrations_before": calibrations,
        **policy,
    }
    return json.dumps(header, separators=(",", ":")).encode()


def _entries(lines: Iterable[bytes]) -> Iterator[ObservationBatch | _Header]:
    for number, line in enumerate(lines, start=1):
        try:
            yield _entry(line)
        except ValueError as error:
            raise DataError(f"line {number}: {error}; remove the line, or give another file") from error


def _check_models(models: Collection[str], digest: str) -> None:
    if models and digest not in models:
        raise ArchiveError(
            f"expected observations of {digest}, got {', '.join(sorted(models))}; give the archive that was served"
        )


def _entry(line: bytes) -> ObservationBatch | _Header:
    """Parse a line of the record: a batch or a header.

    Raises:
        ValueError: The line is neither.
    """
    if not line.startswith(_HEADER):
        return batch_from_bytes(line)
    try:
        header = json.loads(line)
        image_ids = header.pop("image_ids_before")
        calibrations = _CALIBRATIONS.validate_python(header.pop("calibrations_before", {}))
        before = {
            digest: Progress(
                int(number), tuple(map(str, image_ids.get(digest, ()))), calibrations.get(digest, NOT_CALIBRATED)
            )
            for digest, number in header.pop("observations_before").items()
        }
        if any(progress.observations < 0 for progress in before.values()):
            raise ValueError("expected observations_before >= 0, got a negative number")
        label_shift = header.pop("label_shift", None)
        if label_shift not in (None, *get_args(LabelShift)):
            raise ValueError(f"expected a label_shift of alarm or report, got {label_shift!r}")
        given = {name: value for name, value in header.items() if value is not None}
        policy = DriftPolicy(**given)  # checks the bounds
        replaced = {name: getattr(policy, name) for name in given}
        return _Header(before, DriftOverrides(**replaced, label_shift=label_shift))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"expected a header with observations_before and the drift settings, got {line[:80]!r}"
        ) from error


def _watch(contract: Contract, given: DriftOverrides, recorded: _Header, before: Progress) -> DriftWatch:
    """Return a watch that continues where the live watch was. The given settings replace the recorded ones.

    With another window size, the image ids of the window that began earlier are unknown.
    """
    overrides = recorded.overrides.replaced_by(given)
    size = contract.drift.window_size
    if (overrides.window_size or size) != (recorded.overrides.window_size or size):
        before = Progress(before.observations)
    return DriftWatch(contract, overrides, before)


def _reports(watch: DriftWatch, batch: ObservationBatch) -> Iterator[DriftReport]:
    for observation in batch.observations:
        if observation.features is not None:
            yield from watch.add(observation.features, observation.image_id, batch.answered_at)
