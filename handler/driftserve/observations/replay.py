"""Replays recorded observations, which gives the same drift reports as the live monitor."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import get_args
from urllib.parse import unquote

from pydantic import TypeAdapter

from driftserve.archive.contract import Contract, DriftPolicy
from driftserve.archive.served import digest_of, display_name, encoded_name, encoded_name_of
from driftserve.drift.calibration import NOT_CALIBRATED, CalibrationProgress
from driftserve.drift.overrides import NO_OVERRIDES, DriftOverrides
from driftserve.drift.report import DriftReport
from driftserve.drift.watch import DriftWatch, Progress
from driftserve.drift.window import WindowImages
from driftserve.errors import ArchiveError, DataError
from driftserve.observations.observation import ObservationBatch, batch_from_bytes
from driftserve.settings import LabelShift

_CALIBRATIONS = TypeAdapter(dict[str, CalibrationProgress])
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
        self.size = size
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
    """Yield the reports on the recorded observations of one archive. They equal the live monitor's reports.

    A multi-model server can serve the archive under several names. Each has its own windows, and `DriftReport.model`
    tells them apart.

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
    watched: dict[str, tuple[_LiveWindow, DriftWatch]] = {}  # by the served model's key
    models = set()
    for entry in _entries(lines):
        if isinstance(entry, _Header):
            for key, (live, watch) in list(watched.items()):
                before = entry.before.get(key, Progress())
                if before.observations != live.observations or entry.overrides != header.overrides:
                    # Lines are missing before this header, or another watch of the model began here.
                    del watched[key]
                elif before.calibration != NOT_CALIBRATED and watch.window_size == live.size:
                    watch.resume_calibration(before.calibration)  # a window whose start is missing had its part in it
            header = entry
            continue
        models.add(digest_of(entry.model))
        if digest_of(entry.model) != digest:
            continue
        if entry.model not in watched:
            before = header.before.get(entry.model, Progress())
            live = _LiveWindow(header.overrides.window_size or contract.drift.window_size, before)
            watched[entry.model] = live, _watch(contract, overrides, header, before)
        live, watch = watched[entry.model]
        live.add(entry, len(contract.reference))
        name = display_name(contract, entry.model)
        yield from (replace(report, model=name) for report in _reports(watch, entry))
    _check_models(models, digest)


def recorded_batches(
    lines: Iterable[bytes], contract: Contract, digest: str, server_name: str | None = None
) -> Iterator[ObservationBatch]:
    """Yield the batches of one served model in a record, in order.

    Args:
        lines: Lines of the record.
        contract: The archive's contract.
        digest: The archive's content digest.
        server_name: The name under which a multi-model server had the archive; None if it had only one name.

    Raises:
        ArchiveError: There are observations, but none of this model.
        DataError: A line is not in the record's format; the message gives its number. Or the archive was served under
            several names, and `server_name` is None.
    """
    models = set()
    names = set()
    chosen = None if server_name is None else encoded_name(server_name)
    for entry in _entries(lines):
        if isinstance(entry, _Header):
            continue
        models.add(digest_of(entry.model))
        if digest_of(entry.model) != digest:
            continue
        name = encoded_name_of(entry.model) or contract.name
        names.add(name)
        if chosen is None and len(names) > 1:
            raise DataError(
                f"expected the traffic of one served model, got that of {' and '.join(map(unquote, sorted(names)))}; "
                "choose one with --served-as"
            )
        if name == (chosen or name):
            yield entry
    _check_models(models, digest)
    if chosen is not None and names and chosen not in names:
        raise ArchiveError(
            f"expected observations of the archive as {server_name}, got {', '.join(map(unquote, sorted(names)))}; "
            "choose one of these with --served-as"
        )


def record_header(
    before: Mapping[str, Progress],
    overrides: DriftOverrides = NO_OVERRIDES,
) -> bytes:
    """Return the first line of a part of a record, without a newline. `replay` needs it to continue the windows.

    Args:
        before: Progress of each model's watch since the monitor started, by key; models without any may be missing.
        overrides: The operator's drift settings.
    """
    policy = asdict(overrides)
    numbers = {key: progress.observations for key, progress in before.items()}
    image_ids = {key: progress.image_ids for key, progress in before.items() if progress.image_ids}
    calibrations = {
        key: asdict(progress.calibration) for key, progress in before.items() if progress.calibration != NOT_CALIBRATED
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
            key: Progress(int(number), tuple(map(str, image_ids.get(key, ()))), calibrations.get(key, NOT_CALIBRATED))
            for key, number in header.pop("observations_before").items()
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
