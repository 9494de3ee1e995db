"""Take screenshots of the top of a model card, with Chromium in headless mode."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from driftserve.errors import DriftserveError

INSTALL_CHROMIUM = "apt-get install --no-install-recommends chromium fonts-dejavu-core"
SCHEMES = {"light": "1", "dark": "0"}  # for each colour scheme: Chromium's number for it

_WIDTH, _HEIGHT = 860, 540  # size of the picture, in CSS pixels
_MORE_HEIGHT = 200  # CSS pixels to add to the window, because the browser may use a part of it
_SCALE = 2  # pixels of the file for each CSS pixel
_COLOURS = 128  # number of colours in the file
_TIMEOUT_SECONDS = 60.0


def find_chromium() -> str | None:
    """Return the path of Chromium, or None if it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def take_screenshot(chromium: str, card: Path, scheme: str, picture: Path) -> None:
    """Write a PNG of the top of a card in a light or a dark scheme.

    Raises:
        DriftserveError: Chromium failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "shot.png")
        command = [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
            f"--force-device-scale-factor={_SCALE}",
            f"--window-size={_WIDTH},{_HEIGHT + _MORE_HEIGHT}",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            f"--screenshot={shot}",
            card.resolve().as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
        if done.returncode != 0 or not shot.exists():
            raise DriftserveError(f"{chromium} made no screenshot; exit status {done.returncode}: {done.stderr}")
        with Image.open(shot) as image:
            top = image.convert("RGB").crop((0, 0, _WIDTH * _SCALE, _HEIGHT * _SCALE))
            top.quantize(_COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
