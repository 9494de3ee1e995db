"""The versions of the libraries that decide a training's result."""

from collections.abc import Mapping
from importlib.metadata import version

# OpenCV computes the geometric augmentations: at one seed, versions 4 and 5 give other pixels.
_DECIDING = ("albumentations", "lightning", "numpy", "opencv-python-headless", "pillow", "timm", "torch")


def library_versions() -> Mapping[str, str]:
    """Return the installed versions, by name of the package."""
    return {name: version(name) for name in _DECIDING}
