"""The processors and memory that a container may use: the limits of its control group (cgroup), version 1 or 2.

https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/scheduler/sched-bwc.html,
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

import math
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


def available_processors(root: Path = _ROOT) -> int:
    """Return how many processors this process may use, by its affinity and its cgroup's quota, rounded up."""
    processors = len(os.sched_getaffinity(0))
    quota, period = (*_words(root / "cpu.max"), "", "")[:2]  # version 2: "150000 100000", or "max 100000"
    if not period:
        quota, period = _word(root / "cpu/cpu.cfs_quota_us"), _word(root / "cpu/cpu.cfs_period_us")
    if quota.isdecimal() and period.isdecimal() and int(period):  # no limit is "max", or -1 in version 1
        processors = min(processors, math.ceil(int(quota) / int(period)))
    return max(1, processors)


def memory_limit_bytes(root: Path = _ROOT, proc: Path = _PROC) -> int:
    """Return the memory in bytes that all processes of the container may use together: its limit, or the machine's."""
    limit = next(int(line[1]) * 1024 for line in _lines(proc / "meminfo") if line[0] == "MemTotal:")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        if (most := _word(root / name)).isdecimal():
            limit = min(limit, int(most))
    return limit


def available_memory_bytes(root: Path = _ROOT, proc: Path = _PROC) -> int:
    """Return the memory in bytes that the cgroup's processes can still take, including all file caches.

    The result differs between containers, since the kernel counts a library's memory in the cgroup that first read it.
    """
    free = next(int(line[1]) * 1024 for line in _lines(proc / "meminfo") if line[0] == "MemAvailable:")
    for limit, used, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_"),
    ):
        if (most := _word(root / limit)).isdecimal():
            statistics = dict(_lines((root / used).with_name("memory.stat")))
            cached = int(statistics[f"{prefix}inactive_file"]) + int(statistics[f"{prefix}active_file"])
            free = min(free, int(most) - int(_word(root / used)) + cached)
    return max(0, free)


def _word(path: Path) -> str:
    """Return the first word of a file, or an empty string if there is no file or no word."""
    return (*_words(path), "")[0]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]
