"""A bounded sample of a decoded image's own pixels, on which its statistics are computed."""

import numpy as np
import numpy.typing as npt

TILES_A_SIDE = 4
TILE = 32  # pixels
BLOCK = 8  # of a JPEG, in pixels: tiles begin where blocks do


def to_raster(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Sixteen tiles spread evenly over an image, shape (16, height, width, 3), 32 by 32 or the image's own size.

    At the image's own resolution, since resizing hides what compression, blur and noise do; of a
    bounded number of pixels, since a request pays for them. Tiles of a small image overlap.

    Args:
        image: (H, W, 3) uint8.
    """
    height, width = (min(TILE, side) for side in image.shape[:2])
    rows = _starts(image.shape[0], height)
    columns = _starts(image.shape[1], width)
    return np.stack([image[row : row + height, column : column + width] for row in rows for column in columns])


def _starts(length: int, tile: int) -> list[int]:
    """Where the tiles along a side begin.

    >>> _starts(150, 32)
    [0, 32, 72, 112]
    """
    last = length - tile
    return [last * index // (TILES_A_SIDE - 1) // BLOCK * BLOCK for index in range(TILES_A_SIDE)]
