"""Takes a bounded sample of a decoded image's pixels, from which the image's statistics are computed."""

import numpy as np
import numpy.typing as npt

TILES_A_SIDE = 4
TILE = 32  # pixels
BLOCK = 8  # of a JPEG, in pixels; tiles start at the start of a block


def to_raster(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return sixteen tiles, spread evenly over an image, shape (16, height, width, 3).

    A tile has 32 by 32 pixels, or the size of the image if that is smaller; tiles of a small image overlap. They keep
    the image's resolution, because resizing hides the effects of compression, blur and noise. The number of pixels is
    bounded, because their statistics take time in every request.

    Args:
        image: (H, W, 3) uint8.
    """
    height, width = (min(TILE, side) for side in image.shape[:2])
    rows = _starts(image.shape[0], height)
    columns = _starts(image.shape[1], width)
    return np.stack([image[row : row + height, column : column + width] for row in rows for column in columns])


def _starts(length: int, tile: int) -> list[int]:
    """Return where the tiles along a side start.

    >>> _starts(150, 32)
    [0, 32, 72, 112]
    """
    last = length - tile
    return [last * index // (TILES_A_SIDE - 1) // BLOCK * BLOCK for index in range(TILES_A_SIDE)]
