"""Takes a raster from a decoded image: sixteen small tiles, from which the image's statistics are computed."""

import numpy as np
import numpy.typing as npt

TILES_A_SIDE = 4
TILE = 32  # side of a tile, in pixels
BLOCK = 8  # side of a JPEG's blocks, in pixels; each tile starts at the edge of a block


def to_raster(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return an image's raster: sixteen tiles in a 4x4 grid over the image, shape (16, height, width, 3) uint8.

    Each side of a tile has 32 pixels, or as many as the same side of the image, if that is shorter. The tiles of a
    small image overlap. They keep the image's resolution, because resizing hides the effects of compression, blur and
    noise. The number of pixels is limited, because computing their statistics takes time in every request.

    Args:
        image: (H, W, 3) uint8.
    """
    height, width = (min(TILE, side) for side in image.shape[:2])
    rows = _starts(image.shape[0], height)
    columns = _starts(image.shape[1], width)
    return np.stack([image[row : row + height, column : column + width] for row in rows for column in columns])


def _starts(length: int, tile: int) -> list[int]:
    """Return where the four tiles along one side of the image start, in pixels.

    >>> _starts(150, 32)
    [0, 32, 72, 112]
    """
    last = length - tile
    return [last * index // (TILES_A_SIDE - 1) // BLOCK * BLOCK for index in range(TILES_A_SIDE)]
