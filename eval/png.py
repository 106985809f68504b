"""Strips of small images as PNG data addresses."""

from __future__ import annotations

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

SHOWN_RESOLUTION = 96  # larger images are reduced for the page


def strip(images: npt.NDArray[np.uint8]) -> str:
    """uint8 images [n, C, H, W] side by side as one "data:image/png;base64,..." address; n >= 1."""
    n, channels, height, width = images.shape
    row = images.transpose(2, 0, 3, 1).reshape(height, n * width, channels)
    picture = Image.fromarray(np.ascontiguousarray(row[:, :, 0] if channels == 1 else row))
    if height > SHOWN_RESOLUTION:
        shown = (n * SHOWN_RESOLUTION, SHOWN_RESOLUTION)
        picture = picture.resize(shown, Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
