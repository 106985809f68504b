"""The built-in set: scikit-learn's handwritten digits, which need no network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan_lt.data.decoding import require_resolution
from gan_lt.data.image_set import ImageSet
from gan_lt.data.pixels import Uint8Array

HELD_OUT_PER_CLASS = 50
_SPLIT_SEED = 0  # fixed: whoever trains with whatever seed is judged on the same held-out digits
_NATIVE_RESOLUTION = 8


def open_digits(split: str, resolution: int | None = None, channels: int | None = None) -> ImageSet:
    """``digits`` (Alpaydin and Kaynak, 1998, as scikit-learn has them): 1,797 images of 8x8 in 17 grays.

    ``"test"`` is 50 images of every class chosen by a fixed seed, ``"train"`` the other 1,297; ids are
    scikit-learn's indices. ``resolution`` is 16 by default, bicubic and clipped; 8 gives the originals,
    scaled from 0..16 to 0..255. ``channels`` is 1 by default; 3 repeats it.
    """
    from sklearn.datasets import load_digits  # heavy, and needed here alone

    digits = load_digits()
    held_out = _held_out(digits.target)
    chosen = np.flatnonzero(held_out if split == "test" else ~held_out)
    images = _resize(digits.images[chosen], require_resolution(resolution or 16))[:, None]
    return ImageSet.from_arrays(
        np.repeat(images, 3, axis=1) if channels == 3 else images,
        digits.target[chosen],
        class_names=[str(digit) for digit in range(10)],
        name="digits:test" if split == "test" else "digits",
        ids=[str(index) for index in chosen],
    )


def _held_out(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    generator = np.random.default_rng(_SPLIT_SEED)
    mask = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        mask[generator.permutation(np.flatnonzero(labels == digit))[:HELD_OUT_PER_CLASS]] = True
    return mask


def _resize(images: NDArray[np.float64], resolution: int) -> Uint8Array:
    gray = (images * (255 / 16)).astype(np.float32)
    if resolution != _NATIVE_RESOLUTION:
        size = (resolution, resolution)
        resized = [Image.fromarray(image).resize(size, Image.Resampling.BICUBIC) for image in gray]
        gray = np.stack([np.asarray(image) for image in resized])
    pixels: Uint8Array = np.rint(gray.clip(0, 255)).astype(np.uint8)
    return pixels
