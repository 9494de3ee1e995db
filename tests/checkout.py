"""Where the checkout lies that is tested, whatever folder a test is in."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
