"""The images that the page shows: real beside generated for every class, and the memorization pairs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eval.sources import ImageSource

Images = npt.NDArray[np.uint8]


@dataclass
class MemorizedPair:
    """A generated image [C, H, W] and the training image [C, H, W] nearest to it; ratio: distance over
    threshold.
    """

    class_name: str
    fake: Images
    train: Images
    ratio: float


@dataclass
class Gallery:
    """real, fake: for each class some images [n, C, H, W], in class order."""

    real: list[Images] = field(default_factory=list)
    fake: list[Images] = field(default_factory=list)
    pairs: list[MemorizedPair] = field(default_factory=list)


def collect_gallery(
    real: ImageSource, fake: ImageSource, num_classes: int, *, per_class: int, seed: int
) -> Gallery:
    """A seeded, unpicked choice of up to `per_class` images of every class from both sides."""
    return Gallery(_choose(real, num_classes, per_class, seed), _choose(fake, num_classes, per_class, seed))


def _choose(source: ImageSource, num_classes: int, per_class: int, seed: int) -> list[Images]:
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(num_classes):
        own = source.of_class(index)
        rows.append(np.sort(rng.choice(own, min(per_class, len(own)), replace=False)))
    if not sum(map(len, rows)):
        return [np.empty((0, source.channels, source.resolution, source.resolution), np.uint8)] * num_classes
    images = source.read(np.concatenate(rows).astype(np.int64))
    return list(np.split(images, np.cumsum([len(chosen) for chosen in rows])[:-1]))
