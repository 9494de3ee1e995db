"""Records the monitor's observations and reports in files of limited size, for `driftserve replay`."""

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from driftserve.drift.overrides import NO_OVERRIDES, DriftOverrides
from driftserve.drift.report import DriftReport, report_to_json
from driftserve.drift.watch import Progress
from driftserve.errors import SettingsError
from driftserve.host.lock import try_lock
from driftserve.host.private import check_private, open_private
from driftserve.observations.replay import record_header

logger = logging.getLogger(__name__)

OBSERVATIONS_FILE = "observations.jsonl"
REPORTS_FILE = "reports.jsonl"
_LOCK_FILE = ".lock"  # locked by the one server that records there; the kernel unlocks it when the server dies
_BLOCK_BYTES = 1 << 16
_FILES = 4  # files of a record: `x.jsonl` and, from newer to older, `x.jsonl.1` to `x.jsonl.3`


def check_record_directory(directory: Path) -> None:
    """Check that no other user can change the records of an existing directory; a missing one is created later.

    Raises:
        SettingsError: it is not a directory of this user, or others can write to it.
    """
    directory = directory.resolve()
    if directory.exists():
        check_private(directory, "set DRIFTSERVE_RECORD_DIR to another, or change its owner or mode")


def oldest_first(files: Iterable[Path]) -> list[Path]:
    """Return the files of one record, oldest first, for any order of `files`.

    >>> [str(path) for path in oldest_first(map(Path, ["o.jsonl", "o.jsonl.1", "o.jsonl.2"]))]
    ['o.jsonl.2', 'o.jsonl.1', 'o.jsonl']
    """
    return sorted(files, key=lambda path: int(path.suffix[1:]) if path.suffix[1:].isdecimal() else 0, reverse=True)


class Recorder:
    """Appends to the two records: observations and reports. Only one server may record in a directory.

    A failed disk, or another server in the directory, does not stop the monitoring. The recorder logs the first
    failure, counts the lost lines in `lost`, and tries again with each new line.

    Args:
        directory: Directory of the records. If it does not exist, it is created with access for this user only. If it
            exists, it must be this user's, and no other user may write to it. Links in it are not followed.
        max_bytes: Most bytes in each of the two records.
        overrides: The operator's drift settings; `replay` needs them.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        overrides: DriftOverrides = NO_OVERRIDES,
    ) -> None:
        self.lost = 0
        self._directory = directory
        self._overrides = overrides
        self._most_header_bytes = max_bytes // _FILES // 2
        self._lock: BinaryIO | None = None
        self._observations = _RotatingFile(directory / OBSERVATIONS_FILE, max_bytes)
        self._reports = _RotatingFile(directory / REPORTS_FILE, max_bytes)

    def record_batch(self, datagram: bytes, progress: Callable[[], Mapping[str, Progress]]) -> None:
        """Append a batch. Call this before the monitor observes the batch.

        Args:
            datagram: The batch as it arrived, one line of JSON.
            progress: Returns the progress of each model's watch, by key; it is called at the start of each part.
        """
        self._append(self._observations, datagram, lambda: self._header(progress()))

    def record_reports(self, reports: Iterable[DriftReport]) -> None:
        """Append the reports on the windows that the last batch filled."""
        for report in reports:
            self._append(self._reports, report_to_json(report).encode(), lambda: b"")

    def start_part(self) -> None:
        """Start a new part of the record: write the progress of all watches again before the next batch."""
        self._observations.close()

    def close(self) -> None:
        """Close the files and release the directory."""
        self._observations.close()
        self._reports.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _header(self, before: Mapping[str, Progress]) -> bytes:
        """Return the first line of a part.

        The line has no image ids if they would not fit. A replay may then count an image twice.
        """
        header = record_header(before, self._overrides)
        if len(header) <= self._most_header_bytes:
            return header
        numbers = {key: Progress(progress.observations, (), progress.calibration) for key, progress in before.items()}
        return record_header(numbers, self._overrides)

    def _append(self, file: "_RotatingFile", line: bytes, first_line: Callable[[], bytes]) -> None:
        try:
            self._lock = self._lock or self._lock_directory()
            file.append(line, first_line)
        except OSError as error:
            if self.lost == 0:
                logger.error(
                    "cannot write to %s: the record has a gap, monitoring continues: %s", self._directory, error
                )
            self.lost += 1

    def _lock_directory(self) -> BinaryIO:
        """Lock the directory until the returned file is closed.

        Raises:
            OSError: Another server has the lock, the lock file cannot be created, or others can write to the directory.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            check_record_directory(self._directory)
        except SettingsError as error:
            raise OSError(errno.EPERM, str(error)) from error
        lock = open_private(self._directory / _LOCK_FILE, os.O_RDWR)
        try:
            if not try_lock(lock):
                raise OSError(errno.EBUSY, "another server records there; give each server its own directory")
        except OSError:
            lock.close()
            raise
        return lock


class _RotatingFile:
    """A file of lines and its older parts, together at most `max_bytes` long. The oldest part is removed first."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._file_bytes = max_bytes // _FILES
        self._file: BinaryIO | None = None
        self._size = 0

    def append(self, line: bytes, first_line: Callable[[], bytes]) -> None:
        """Append a complete line, or nothing. In a newly opened file, write the result of `first_line` before the line.

        Raises:
            OSError: The line cannot be written.
        """
        text = line + b"\n"
        file = self._file
        if file is None or self._size + len(text) > self._file_bytes:
            if first := first_line():
                text = first + b"\n" + text
            file = self._open(len(text))
        try:
            written = file.write(text)
            if written != len(text):
                raise OSError(errno.ENOSPC, f"expected to write {len(text)} bytes, wrote {written}")
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(self._size)
            self.close()
            raise
        self._size += len(text)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, incoming: int) -> BinaryIO:
        """Open the newest file, or start a new one if `incoming` bytes do not fit."""
        self.close()
        if incoming > self._file_bytes:
            raise OSError(errno.EFBIG, f"expected lines of at most {self._file_bytes} bytes, got {incoming}")
        if os.path.lexists(self._path) and _cut_torn_line(self._path) + incoming > self._file_bytes:
            for number in range(_FILES - 1, 0, -1):
                newer = self._numbered(number - 1)
                if newer.exists():
                    newer.replace(self._numbered(number))
        self._file = open_private(self._path, os.O_WRONLY | os.O_APPEND)
        self._size = os.fstat(self._file.fileno()).st_size
        return self._file

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")


def _cut_torn_line(path: Path) -> int:
    """Remove an incomplete last line, which a killed writer may have left; return the file's new size in bytes."""
    with open_private(path, os.O_RDWR) as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            if (line_end := file.read(end - start).rfind(b"\n") + 1) > 0:
                end = start + line_end
                break
            end = start
        if end < size:
            file.truncate(end)
        return end
