"""uint8 pixels -> the bytes of an image file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan_lt.errors import InputError

ImageFormat = Literal["png", "jpeg", "webp"]

_SUFFIXES = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_QUALITY = {"jpeg": 95, "webp": 90}


@dataclass(frozen=True)
class Encoding:
    """How images are stored.

    image_format: "png" (lossless), "jpeg" or "webp". quality: 1 to 100, of JPEG [95] and WebP [90]; None: these.

    Raises:
        InputError: an unknown format, a quality out of range, or of PNG, which has none.
    """

    image_format: ImageFormat = "png"
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.image_format not in get_args(ImageFormat):
            raise InputError(f"--image-format: {self.image_format!r} must be png, jpeg or webp")
        if self.quality is not None and self.image_format == "png":
            raise InputError(f"--quality: {self.quality} goes with jpeg and webp; png is lossless")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InputError(f"--quality: {self.quality} must be from 1 to 100")

    @property
    def suffix(self) -> str:
        """Of the files, without the dot."""
        return _SUFFIXES[self.image_format]

    @property
    def used_quality(self) -> int | None:
        """The quality that images are written with; None for PNG."""
        return self.quality if self.quality is not None else _QUALITY.get(self.image_format)

    def encode(self, image: NDArray[np.uint8]) -> bytes:
        """uint8 [C, H, W], 1 or 3 channels -> a file's bytes; the same pixels give the same bytes."""
        pixels = image[0] if image.shape[0] == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        picture = Image.fromarray(pixels)
        buffer = io.BytesIO()
        if self.image_format == "png":
            picture.save(buffer, "PNG", compress_level=1)
        elif self.image_format == "jpeg":
            # colour at full resolution: at 32 pixels a halved one shows
            picture.save(buffer, "JPEG", quality=self.used_quality, subsampling=0)
        else:
            picture.save(buffer, "WEBP", quality=self.used_quality)
        return buffer.getvalue()
