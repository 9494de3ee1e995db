"""An explained image as a picture: on the left as the network sees it, on the right what speaks for its label."""

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from driftserve_training.explanation.attribution import HeatMap

SIDE = 192  # of each half, in pixels, the longer one
_GAP = 4
_FOR, _AGAINST = np.array((214, 39, 40)), np.array((31, 119, 180))  # red, blue
_STRONG_QUANTILE = 0.99  # a single pixel of a gradient may be ten times any other


def draw(pixels: npt.NDArray[np.uint8], heat_map: HeatMap) -> bytes:
    """A PNG, the same for the same arguments: the image, and over its grey copy the attribution.

    Red speaks for the predicted label, blue against it, the more the stronger.

    Args:
        pixels: the network's input, (3, H, W) uint8.
        heat_map: its attributions, (H, W) float32.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    heat = Image.fromarray(_heat(np.asarray(image.convert("L")), heat_map))
    picture = Image.new("RGB", (2 * size[0] + _GAP, size[1]), "white")
    picture.paste(image.resize(size, Image.Resampling.BICUBIC), (0, 0))
    picture.paste(heat.resize(size, Image.Resampling.BICUBIC), (size[0] + _GAP, 0))
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _heat(grey: npt.NDArray[np.uint8], heat_map: HeatMap) -> npt.NDArray[np.uint8]:
    """The attribution in colour over a pale grey image, (H, W, 3)."""
    pale = (255 - 0.5 * (255.0 - grey))[..., None]
    strong = np.quantile(np.abs(heat_map), _STRONG_QUANTILE) or np.abs(heat_map).max() or 1.0
    strength = np.clip(heat_map / strong, -1, 1)[..., None]
    colour = np.where(strength > 0, _FOR, _AGAINST)
    opacity = np.abs(strength)
    return np.asarray((1 - opacity) * pale + opacity * colour, np.float64).round().astype(np.uint8)
