"""Images side by side in one picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def class_grid(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """[rows * columns, C, H, W] -> [rows * H, columns * W] (grey) or [rows * H, columns * W, 3], row by row.

    Raises:
        ValueError: a number of images that does not fill the rows.
    """
    n, channels, height, width = images.shape
    if columns < 1 or n % columns:
        raise ValueError(f"{n} images don't fill rows of {columns}")
    grid = images.reshape(n // columns, columns, channels, height, width).transpose(0, 3, 1, 4, 2)
    grid = grid.reshape(n // columns * height, columns * width, channels)
    return grid[:, :, 0] if channels == 1 else grid
