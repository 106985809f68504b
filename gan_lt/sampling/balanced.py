"""Images of chosen classes without files: an iterator, and a Dataset that makes them on demand."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from gan_lt.class_names import all_composed, composed
from gan_lt.errors import InputError
from gan_lt.models import ImageGenerator
from gan_lt.sampling.images import CHUNK, sample_images
from gan_lt.sampling.plan import image_seeds
from gan_lt.sampling.truncation import TruncationSetting, psi_per_class

PerClass = int | Mapping[str, int] | Mapping[int, int]
_MEMORY = 2 * 2**30


def class_counts(generator: ImageGenerator, per_class: PerClass) -> NDArray[np.int64]:
    """int64 [K]: images of each class, from one number for all, or {class name or index: number} (others: none).

    Raises:
        InputError: an unconditional generator, an unknown class, a number below 0, nothing at all.
    """
    if generator.num_classes == 0:
        raise InputError("the generator is unconditional, so it can't be asked for a class")
    names = all_composed(generator.class_names)
    if not isinstance(per_class, Mapping):
        per_class = dict.fromkeys(names, per_class)
    counts = np.zeros(len(names), dtype=np.int64)
    for key, number in per_class.items():
        index = names.index(composed(key)) if isinstance(key, str) and composed(key) in names else key
        if not isinstance(index, int | np.integer) or not 0 <= index < len(names):
            raise InputError(f"per_class: there is no class {key!r}; the network has {', '.join(names)}")
        if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < 0:
            raise InputError(f"per_class: {number!r} images of class {key!r}; give a whole number, 0 or more")
        counts[index] = number
    if not counts.any():
        raise InputError(f"per_class: {per_class!r} asks for no image at all")
    return counts


def sample_balanced(
    generator: ImageGenerator,
    per_class: PerClass | None = None,
    seed: int = 0,
    truncation_psi: TruncationSetting = 1.0,
) -> Iterator[tuple[Tensor, int]]:
    """Images one by one, the classes taking turns, so that any stretch of them is balanced.

    Image i of a class is the one that `generate.py` writes as CLASS/00000i with the same seed.

    Args:
        generator: in evaluation mode.
        per_class: images of every class, or {class name or index: number}; None: without end.
        seed: from 0. truncation_psi: a number, or {class name: psi} with "*" for the others.

    Yields:
        (uint8 [C, H, W], class index).

    Raises:
        InputError: see `class_counts`; a bad seed or truncation.

    >>> import torch
    >>> from gan_lt.models import Generator
    >>> G = Generator(z_dim=8, num_classes=2, w_dim=8, resolution=8, img_channels=1, channel_max=8, mapping_layers=2).eval()
    >>> [label for image, label in sample_balanced(G, per_class={0: 3, 1: 1})]
    [0, 1, 0, 0]
    """
    counts = None if per_class is None else class_counts(generator, per_class)
    if generator.num_classes == 0:
        class_counts(generator, 1)  # says why not
    psi = psi_per_class(truncation_psi, generator.class_names)
    image_seeds(seed, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    return _in_turn(generator, counts, seed, psi)


def _in_turn(
    generator: ImageGenerator, counts: NDArray[np.int64] | None, seed: int, psi: NDArray[np.float64]
) -> Iterator[tuple[Tensor, int]]:
    classes = np.arange(generator.num_classes)
    rounds = max(1, CHUNK // len(classes))
    for start in itertools.count(0, rounds):
        indices = np.repeat(np.arange(start, start + rounds), len(classes))
        labels = np.tile(classes, rounds)
        if counts is not None:
            if start >= counts.max():
                return
            wanted = indices < counts[labels]
            indices, labels = indices[wanted], labels[wanted]
        images = sample_images(generator, labels, image_seeds(seed, labels, indices), psi[labels])
        yield from zip(torch.from_numpy(images), labels.tolist(), strict=True)


class SyntheticDataset(Dataset[tuple[Any, int]]):
    """Synthetic images as a torch Dataset, made when they are first asked for.

    Item i is the same in every process and every epoch: class by class, in the order of `generate.py`'s files. Images
    are made in chunks of neighbours and kept, so going through the set costs each image once, in any order. Stands beside
    real images in a `ConcatDataset`, and in a `DataLoader`; each of its workers makes, and keeps, the chunks that it is asked
    for, so without shuffling, or with batches of whole chunks, they share the work best.

    Args:
        generator: in evaluation mode; used as it is.
        per_class: images of every class, or {class name or index: number}.
        seed: from 0. truncation_psi: a number, or {class name: psi} with "*" for the others.
        transform: applied to an item's image, uint8 [C, H, W], as torchvision's v2 transforms take it.
        target_transform: applied to the class index, as for other labels than the generator's.
        memory: bytes of images to keep (2 GiB); beyond, the least lately used are made again.

    Attributes:
        labels: int64 [N], before target_transform. class_names: of the generator.

    Raises:
        InputError: see `class_counts`; a bad seed or truncation.

    >>> import torch
    >>> from gan_lt.models import Generator
    >>> G = Generator(z_dim=8, num_classes=2, w_dim=8, resolution=8, img_channels=1, channel_max=8, mapping_layers=2).eval()
    >>> data = SyntheticDataset(G, per_class={"0": 2, "1": 3}, transform=lambda image: image / 255)
    >>> len(data), data[4][0].shape, data[4][1]
    (5, torch.Size([1, 8, 8]), 1)
    """

    def __init__(
        self,
        generator: ImageGenerator,
        per_class: PerClass,
        seed: int = 0,
        transform: Callable[[Tensor], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        truncation_psi: TruncationSetting = 1.0,
        memory: int = _MEMORY,
    ) -> None:
        counts = class_counts(generator, per_class)
        self.generator, self.transform, self.target_transform = generator, transform, target_transform
        self.class_names = generator.class_names
        self.labels: NDArray[np.int64] = np.repeat(np.arange(len(counts)), counts)
        indices = np.arange(len(self.labels)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._seeds = image_seeds(seed, self.labels, indices)
        self._psi = psi_per_class(truncation_psi, generator.class_names)[self.labels]
        chunk_bytes = CHUNK * generator.img_channels * generator.resolution**2
        self._kept_chunks = max(1, memory // chunk_bytes)
        self._chunks: OrderedDict[int, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """(image after transform, class index)."""
        position = int(index) + len(self) if index < 0 else int(index)
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is outside the {len(self)} images")
        # a copy: a transform that works in place must not reach what is kept
        image = self._chunk(position // CHUNK)[position % CHUNK].clone()
        label = int(self.labels[position])
        return (
            image if self.transform is None else self.transform(image),
            label if self.target_transform is None else self.target_transform(label),
        )

    def _chunk(self, number: int) -> Tensor:
        if number in self._chunks:
            self._chunks.move_to_end(number)
        else:
            rows = slice(number * CHUNK, (number + 1) * CHUNK)
            images = sample_images(self.generator, self.labels[rows], self._seeds[rows], self._psi[rows])
            self._chunks[number] = torch.from_numpy(images)
            if len(self._chunks) > self._kept_chunks:
                self._chunks.popitem(last=False)
        return self._chunks[number]

    def __getstate__(self) -> dict[str, Any]:
        # a worker that is spawned gets the recipe, not the images
        return self.__dict__ | {"_chunks": OrderedDict()}


__all__ = ["PerClass", "SyntheticDataset", "class_counts", "sample_balanced"]
