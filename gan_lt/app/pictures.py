"""Small images made large enough to look at, in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gan_lt.sampling.grid import class_grid

TILE = 64  # pixels that a small image is enlarged to; larger ones stay as they are
_TEXT_HEIGHT = 15
_MARGIN = 8


def picture(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [N, C, H, W] -> one nearly square picture [H', W'(, 3)]; missing places of the last row are white."""
    columns = _columns(len(images))
    missing = -len(images) % columns
    if missing:
        white = np.full((missing, *images.shape[1:]), 255, dtype=np.uint8)
        images = np.concatenate([images, white])
    return _enlarged(class_grid(images, columns), images.shape[-1])


def labelled_rows(images: NDArray[np.uint8], names: Sequence[str]) -> NDArray[np.uint8]:
    """uint8 [rows * columns, C, H, W] and a name a row -> a picture [H', W', 3] with the names on the left."""
    grid = Image.fromarray(
        _enlarged(class_grid(images, len(images) // len(names)), images.shape[-1])
    ).convert("RGB")
    font = ImageFont.load_default(_TEXT_HEIGHT)
    left = 2 * _MARGIN + int(max(font.getlength(name) for name in names))
    sheet = Image.new("RGB", (left + grid.width, grid.height), "white")
    sheet.paste(grid, (left, 0))
    draw = ImageDraw.Draw(sheet)
    row = grid.height / len(names)
    for index, name in enumerate(names):
        draw.text((_MARGIN, (index + 0.5) * row), name, fill="black", font=font, anchor="lm")
    return np.asarray(sheet)


def _columns(images: int) -> int:
    return max(1, min(8, images, int(np.ceil(np.sqrt(images * 1.5)))))


def _enlarged(grid: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
    # whole factors and no smoothing: what is seen is the network's own pixels
    factor = max(1, TILE // resolution)
    return grid.repeat(factor, axis=0).repeat(factor, axis=1)


__all__ = ["TILE", "labelled_rows", "picture"]
