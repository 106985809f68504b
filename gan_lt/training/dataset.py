"""The images a configuration trains on."""

from __future__ import annotations

from pathlib import Path

from gan_lt.config import DataConfig
from gan_lt.data import ImageSet, open_image_set, thin_to_long_tail
from gan_lt.errors import InputError

_IN_MEMORY_BYTES = 2 << 30


def open_training_set(data: DataConfig) -> ImageSet:
    """Open, resize and thin out as configured; small sets are decoded once and kept.

    Raises:
        InputError: no data given, or anything wrong with it.
    """
    if data.path is None:
        raise InputError(
            "--data is missing; pass a folder with a sub-folder a class, a zip, shards, a list, or digits, "
            "cifar10, cifar100"
        )
    images = open_image_set(
        data.path,
        resolution=data.resolution,
        channels=data.channels,
        split="train",
        data_root=None if data.root is None else Path(data.root),
        skip_corrupt=data.skip_corrupt,
        option="--data",
    )
    if data.imbalance is not None:
        images = thin_to_long_tail(images, data.imbalance, data.profile, data.thinning_seed)
    if images.resolution < 8 or images.resolution & (images.resolution - 1):
        raise InputError(
            f"--data: the images are {images.resolution}x{images.resolution}; the networks need a power of two from 8 to "
            f"1024: pass data.resolution=N"
        )
    return images.materialize() if images.decoded_bytes <= _IN_MEMORY_BYTES else images
