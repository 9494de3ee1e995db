import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from driftserve.host.cgroup import available_memory_bytes, available_processors, memory_limit_bytes

GIB = 1 << 30


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    place = tmp_path / "proc"
    place.mkdir()
    (place / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\n")
    return place


def _group(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root / "cgroup"


def _v1(quota: str) -> dict[str, str]:
    return {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize("files", [{"cpu.max": "50000 100000"}, _v1("50000"), _v1("100000"), {"cpu.max": "1 100000"}])
def test_a_quota_of_at_most_one_processor_counts_as_one(tmp_path: Path, files: Mapping[str, str]) -> None:
    assert available_processors(_group(tmp_path, files)) == 1


@pytest.mark.parametrize("files", [{}, {"cpu.max": "max 100000"}, _v1("-1"), {"cpu.max": "90000000 100000"}])
def test_without_a_quota_the_cpu_affinity_counts(tmp_path: Path, files: Mapping[str, str]) -> None:
    assert available_processors(_group(tmp_path, files)) == len(os.sched_getaffinity(0))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two processors are needed to take one away")
def test_a_fraction_of_a_processor_counts_as_a_whole_one(tmp_path: Path) -> None:
    assert available_processors(_group(tmp_path, {"cpu.max": "150000 100000"})) == 2


def test_free_memory_is_the_rest_of_the_limit_plus_the_file_cache(tmp_path: Path, proc: Path) -> None:
    group = {
        "memory.max": str(2 * GIB),
        "memory.current": str(GIB),
        "memory.stat": f"anon 1\ninactive_file {GIB // 4}\nactive_file {GIB // 4}",
    }
    assert available_memory_bytes(_group(tmp_path, group), proc) == 1.5 * GIB


def test_free_memory_with_cgroup_version_1(tmp_path: Path, proc: Path) -> None:
    group = {
        "memory/memory.limit_in_bytes": str(GIB),
        "memory/memory.usage_in_bytes": str(GIB),
        "memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {GIB // 8}\ntotal_active_file {GIB // 8}",
    }
    assert available_memory_bytes(_group(tmp_path, group), proc) == GIB / 4


@pytest.mark.parametrize("limit", ["max", str(64 * GIB)])
def test_without_a_limit_the_memory_of_the_machine_counts(tmp_path: Path, proc: Path, limit: str) -> None:
    group = {"memory.max": limit, "memory.current": "0", "memory.stat": "inactive_file 0\nactive_file 0"}
    assert available_memory_bytes(_group(tmp_path, group), proc) == 8 * GIB


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 16 * GIB),
        ({"memory.max": "max"}, 16 * GIB),
        ({"memory.max": str(2 * GIB)}, 2 * GIB),
        ({"memory/memory.limit_in_bytes": str(3 * GIB)}, 3 * GIB),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, 16 * GIB),  # version 1 without a limit
    ],
)
def test_the_memory_limit_is_that_of_the_container_or_of_the_machine(
    tmp_path: Path, proc: Path, files: Mapping[str, str], limit: int
) -> None:
    assert memory_limit_bytes(_group(tmp_path, files), proc) == limit
