"""Replays recorded observations, which gives the same drift reports as the live monitor."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from driftserve.archive.contract import Contract, DriftPolicy
from driftserve.archive.served import digest_of, display_name, encoded_name, encoded_name_of
from driftserve.drift.report import DriftReport
from driftserve.drift.watch import DriftWatch, Progress
from driftserve.drift.window import TumblingWindow
from driftserve.errors import ArchiveError, DataError
from driftserve.observations.observation import ObservationBatch, batch_from_bytes

_HEADER = b'{"observations_before":'


@dataclass(frozen=True)
class _Header:
    """The first line of a part of a record: the progress when the part began, and the operator's drift settings.

    A setting is None if the contract's value applied.
    """

    before: Mapping[str, Progress]
    window_size: int | None = None
    windows_between_false_alarms: int | None = None

    @property
    def policy(self) -> tuple[int | None, int | None]:
        """The operator's two settings; each is None if the contract's value applied."""
        return self.window_size, self.windows_between_false_alarms


class _LiveWindow:
    """Counts observations in the live monitor's windows, since these decide which images are duplicates."""

    def __init__(self, size: int, before: Progress) -> None:
        self.observations = before.observations
        self._window = TumblingWindow(size, before.observations, before.image_ids)

    def add(self, batch: ObservationBatch, columns: int) -> None:
        for observation in batch.observations:
            features, image_id = observation.features, observation.image_id
            if features is not None and len(features) == columns and not self._window.has(image_id):
                self.observations += 1
                self._window.add(features, image_id)


def replay(
    lines: Iterable[bytes],
    contract: Contract,
    digest: str,
    window_size: int | None = None,
    windows_between_false_alarms: int | None = None,
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
        window_size: Replaces the live monitor's value, which the record contains, if not None.
        windows_between_false_alarms: As for `window_size`.

    Raises:
        ArchiveError: There are observations, but none of this model.
        DataError: A line is not in the record's format; the message gives its number.
    """
    given = _Header({}, window_size, windows_between_false_alarms)
    header = _Header({})
    watched: dict[str, tuple[_LiveWindow, DriftWatch]] = {}  # by the served model's key
    models = set()
    for entry in _entries(lines):
        if isinstance(entry, _Header):
            for key, (live, _) in list(watched.items()):
                before = entry.before.get(key, Progress())
                if before.observations != live.observations or entry.policy != header.policy:
                    # Lines are missing before this header, or another watch of the model began here.
                    del watched[key]
            header = entry
            continue
        models.add(digest_of(entry.model))
        if digest_of(entry.model) != digest:
            continue
        if entry.model not in watched:
            before = header.before.get(entry.model, Progress())
            live = _LiveWindow(header.window_size or contract.drift.window_size, before)
            watched[entry.model] = live, _watch(contract, given, header, before)
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
    window_size: int | None = None,
    windows_between_false_alarms: int | None = None,
) -> bytes:
    """Return the first line of a part of a record, without a newline. `replay` needs it to continue the windows.

    Args:
        before: Progress of each model's watch since the monitor started, by key; models without any may be missing.
        window_size: The operator's value, or None if the contract's applies.
        windows_between_false_alarms: The operator's value, or None if the contract's applies.
    """
    policy = {"window_size": window_size, "windows_between_false_alarms": windows_between_false_alarms}
    numbers = {key: progress.observations for key, progress in before.items()}
    image_ids = {key: progress.image_ids for key, progress in before.items() if progress.image_ids}
    header = {"observations_before": numbers, "image_ids_before": image_ids, **policy}
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
        before = {
            key: Progress(int(number), tuple(map(str, image_ids.get(key, ()))))
            for key, number in header.pop("observations_before").items()
        }
        if any(progress.observations < 0 for progress in before.values()):
            raise ValueError("expected observations_before >= 0, got a negative number")
        given = {name: value for name, value in header.items() if value is not None}
        policy = DriftPolicy(**given)  # checks the bounds
        return _Header(before, **{name: getattr(policy, name) for name in given})
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"expected a header with observations_before and the drift settings, got {line[:80]!r}"
        ) from error


def _watch(contract: Contract, given: _Header, recorded: _Header, before: Progress) -> DriftWatch:
    """Return a watch that continues where the live watch was. The given settings replace the recorded ones.

    With another window size, the image ids of the window that began earlier are unknown.
    """
    size = given.window_size or recorded.window_size
    if (size or contract.drift.window_size) != (recorded.window_size or contract.drift.window_size):
        before = Progress(before.observations)
    return DriftWatch(
        contract, size, given.windows_between_false_alarms or recorded.windows_between_false_alarms, before
    )


def _reports(watch: DriftWatch, batch: ObservationBatch) -> Iterator[DriftReport]:
    for observation in batch.observations:
        if observation.features is not None:
            yield from watch.add(observation.features, observation.image_id, batch.answered_at)
