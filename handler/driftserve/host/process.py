"""Tells a process from a later one with the same process id."""

from pathlib import Path


def started_at(process_id: int | str) -> int | None:
    """Return when a process started, in clock ticks since the boot; None if it does not run.

    A zombie does not run. MMS leaves one of a dead worker for a second or more.
    """
    try:
        status = Path("/proc", str(process_id), "stat").read_text()
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return None
    fields = status.rpartition(")")[2].split()  # proc_pid_stat(5); these begin with the third field
    return None if fields[0] in ("Z", "X") else int(fields[19])
