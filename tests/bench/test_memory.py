"""Benchmark: how much memory a worker needs to decode the largest allowed image."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from driftserve.images.decode import DEFAULT_LIMITS

pytestmark = pytest.mark.bench

SIDE = int(DEFAULT_LIMITS.pixels**0.5)
PROGRAM = """
import pathlib, re, sys
from driftserve.images.decode import decode
# In KiB. Not ru_maxrss, which a process inherits from the one that started it.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
body = pathlib.Path(sys.argv[1]).read_bytes()
before = peak()
decode(body)
print((peak() - before) / 1024)
"""


@pytest.mark.parametrize(
    ("kind", "most_bytes_a_pixel"), [("JPEG", 11), ("PNG", 11), ("WEBP", 22)], ids=["JPEG", "PNG", "lossless WebP"]
)
def test_decoding_the_largest_image_needs_a_limited_number_of_bytes_per_pixel(
    kind: str, most_bytes_a_pixel: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIDE // 10, SIDE // 10, 3)).astype(np.uint8)
    options = {"lossless": True, "quality": 0, "method": 0} if kind == "WEBP" else {}
    Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(tmp_path / "image", kind, **options)
    done = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path / "image"], capture_output=True, text=True)
    megabytes = float(done.stdout)
    with capsys.disabled():
        print(f"\n{kind}, {SIDE}x{SIDE}: {megabytes:.0f} MiB additional memory while decoding")
    assert megabytes * 2**20 <= most_bytes_a_pixel * SIDE**2
