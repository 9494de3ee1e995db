"""The picture of an explanation: on the left the network's input, on the right what supports the predicted label."""

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from driftserve_training.explanation.attribution import HeatMap

SIDE = 192  # the longer side of each half, in pixels
_GAP = 4
_FOR, _AGAINST = np.array((214, 39, 40)), np.array((31, 119, 180))  # red, blue
_STRONG_QUANTILE = 0.99  # quantile with full colour; a few pixels may be ten times as strong as all others
_SMOOTHING = 32  # the filter's standard deviation is the shorter side of the map divided by this


def draw(pixels: npt.NDArray[np.uint8], heat_map: HeatMap) -> bytes:
    """Draw the image, and beside it the attribution over a grey copy; return the PNG, the same for the same arguments.

    Red supports the predicted label, blue opposes it. A stronger colour means a stronger attribution.

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
    """Return the attribution in colour over a pale grey image, (H, W, 3).

    The attribution is smoothed to about the cells of the deletion test, because the signs of a gradient alternate from
    pixel to pixel.
    """
    smooth = gaussian_filter(heat_map.astype(np.float64), min(heat_map.shape) / _SMOOTHING)
    pale = (255 - 0.5 * (255.0 - grey))[..., None]
    strong = np.quantile(np.abs(smooth), _STRONG_QUANTILE) or np.abs(smooth).max() or 1.0
    strength = np.clip(smooth / strong, -1, 1)[..., None]
    colour = np.where(strength > 0, _FOR, _AGAINST)
    opacity = 0.8 * np.abs(strength)
    return np.asarray((1 - opacity) * pale + opacity * colour, np.float64).round().astype(np.uint8)
