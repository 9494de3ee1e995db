"""The versions of the libraries that decide a training's result."""

import logging
from collections.abc import Mapping
from importlib.metadata import version

_logger = logging.getLogger(__name__)

# OpenCV computes the geometric augmentations: at one seed, versions 4 and 5 give other pixels.
_DECIDING = ("albumentations", "lightning", "numpy", "opencv-python-headless", "pillow", "timm", "torch")


def library_versions() -> Mapping[str, str]:
    """Return the installed versions, by name of the package."""
    return {name: version(name) for name in _DECIDING}


def report_changed_versions(place: object, then: Mapping[str, str]) -> None:
    """Log a warning if a run or search at a place began with other versions; an earlier driftserve recorded none."""
    now = library_versions()
    if changed := [f"{name} {then[name]} (now {now.get(name)})" for name in then if then[name] != now.get(name)]:
        _logger.warning("%s: the run began with %s; its result may differ", place, ", ".join(changed))
