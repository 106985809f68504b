"""ImageSet: N labelled square images, decoded on demand or kept as uint8."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gan_lt.class_names import all_composed, composed
from gan_lt.data.pixels import ArrayPixels, IndexArray, PixelSource, Uint8Array
from gan_lt.errors import InputError

DRIVE = re.compile(r"[A-Za-z]:(?=[/\\]|\Z)")  # of Windows; "0:ant" and "a:b" are names
MAX_CLASSES = (
    2**31 - 1
)  # what lists and shards take; a label beyond is a mistake, and counting to it takes all memory
IN_MEMORY_BYTES = 2 * 2**30  # sets up to this size, decoded, are kept in memory


@dataclass(eq=False)
class ImageSet:
    """N labelled square images of one resolution.

    Attributes:
        name: what the set is called in messages and tables.
        class_names: K different names in NFC, in the order of the labels; each can be a folder's name.
        labels: int64 ``[N]``, 0..K-1.
        ids: the stable name of each image inside its source: a path in the folder or zip, or an index.
        resolution: height and width in pixels.
        channels: 1 (gray) or 3 (RGB).
        pixels: where the images come from.
        skipped: the ids of corrupt images that were left out (``skip_corrupt``).
    """

    name: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    resolution: int
    channels: int
    pixels: PixelSource
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.labels = np.asarray(self.labels, dtype=np.int64)
        require_class_names(self.class_names, self.name)
        # here, since every reader comes by: a folder from a Mac has the class of the same folder from elsewhere
        self.class_names = all_composed(self.class_names)
        if self.labels.shape != (len(self.ids),):
            raise InputError(f"{self.name}: {len(self.ids)} ids for labels of shape {self.labels.shape}")
        if self.labels.size and not 0 <= self.labels.min() <= self.labels.max() < self.num_classes:
            outside = int(self.labels[(self.labels < 0) | (self.labels >= self.num_classes)][0])
            raise InputError(f"{self.name}: label {outside} is outside its {self.num_classes} classes")
        if self.channels not in (1, 3):
            raise InputError(f"{self.name}: images have {self.channels} channels, must be 1 or 3")

    @classmethod
    def from_arrays(
        cls,
        images: Uint8Array,
        labels: ArrayLike,
        class_names: Sequence[str] | None = None,
        name: str = "arrays",
        ids: Sequence[str] | None = None,
    ) -> ImageSet:
        """A set of uint8 images ``[N, C, H, W]`` with labels ``[N]``; classes are "0", "1", ... by default.

        Raises:
            InputError: images are not square uint8 of 1 or 3 channels, or labels don't fit them.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != images.shape[3]:
            raise InputError(
                f"{name}: images are {images.dtype} of shape {images.shape}, must be uint8 [N, C, H, H]"
            )
        labels_array = np.asarray(labels)
        if labels_array.dtype.kind not in "iu" or labels_array.shape != images.shape[:1]:
            raise InputError(
                f"{name}: labels are {labels_array.dtype} of shape {labels_array.shape}, "
                f"must be integers of shape ({len(images)},)"
            )
        if class_names is None:
            require_countable(labels_array, name)
            class_names = [str(k) for k in range(int(labels_array.max(initial=0)) + 1)]
        return cls(
            name=name,
            class_names=tuple(class_names),
            labels=labels_array.astype(np.int64),
            ids=tuple(ids) if ids is not None else tuple(str(index) for index in range(len(images))),
            resolution=images.shape[2],
            channels=images.shape[1],
            pixels=ArrayPixels(images),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 ``[K]``: images of each class."""
        return np.bincount(self.labels, minlength=self.num_classes).astype(np.int64)

    @property
    def is_in_memory(self) -> bool:
        """Whether the images are decoded already."""
        return self.pixels.in_memory

    @property
    def decoded_bytes(self) -> int:
        """Bytes of the whole set as uint8 pixels."""
        return len(self) * self.channels * self.resolution**2

    def images(self, indices: ArrayLike | None = None, threads: int | None = None) -> Uint8Array:
        """uint8 ``[n, C, H, W]``: the images at ``indices`` (integers or a mask of N), all by default.

        Args:
            threads: threads to decode with; the usable cores by default.

        The whole of a set in memory is returned as it is, not copied: don't write to it.

        Raises:
            InputError: an index outside the set, or an image that can't be decoded (named).
        """
        if indices is None:
            if isinstance(self.pixels, ArrayPixels):
                return self.pixels.array
            return self.pixels.read(np.arange(len(self)), threads)
        return self.pixels.read(self._positions(indices), threads)

    def subset(self, indices: ArrayLike) -> ImageSet:
        """The images at ``indices`` (integers or a mask of N) in that order, with all K classes kept."""
        chosen = self._positions(indices)
        return replace(
            self,
            labels=self.labels[chosen],
            ids=tuple(self.ids[index] for index in chosen),
            pixels=self.pixels.take(chosen),
        )

    def materialize(self) -> ImageSet:
        """The same set decoded once and kept in memory; itself, if it is already."""
        if self.is_in_memory:
            return self
        return replace(self, pixels=ArrayPixels(self.images(), origin=self.pixels))

    def fingerprint(self) -> str:
        """sha256, in hex, over classes, labels, ids, shape and a stamp of every image.

        The stamp is a checksum of the image, except in folders and shards of more than 1 GiB, where it is the
        size of the file. Decoding a set does not change its fingerprint; other resolutions and subsets have others.
        """
        digest = hashlib.sha256()
        head = {"class_names": self.class_names, "ids": self.ids, "shape": [self.channels, self.resolution]}
        digest.update(json.dumps(head, sort_keys=True).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        digest.update(self.pixels.stamps().astype("<u8").tobytes())
        return digest.hexdigest()

    def _positions(self, indices: ArrayLike) -> IndexArray:
        chosen = np.asarray(indices)
        if chosen.dtype == bool and chosen.shape == (len(self),):
            return np.flatnonzero(chosen).astype(np.int64)
        if chosen.size == 0:
            return np.empty(0, dtype=np.int64)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise InputError(
                f"{self.name}: indices are {chosen.dtype} of shape {chosen.shape}, "
                f"must be integers or a mask of {len(self)}"
            )
        outside = chosen[(chosen < 0) | (chosen >= len(self))]
        if outside.size:
            raise InputError(f"{self.name}: index {outside[0]} is outside its {len(self)} images")
        return chosen.astype(np.int64)


def require_countable(labels: NDArray[np.integer[Any]], where: str) -> None:
    """InputError where labels are so large that classes up to them can't be counted."""
    if labels.size and labels.max() >= MAX_CLASSES:
        raise InputError(
            f"{where}: label {labels.max()} is not a class index below {MAX_CLASSES:,}: number the classes 0, 1, ..."
        )


def require_class_names(class_names: tuple[str, ...], where: str) -> None:
    """InputError unless the names differ, also in NFC, and each can be a folder's name: sampling writes such folders."""
    if not class_names:
        raise InputError(f"{where}: no classes")
    seen: dict[str, str] = {}  # names as they are written, by their NFC
    for name in class_names:
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{where}: class name {name!r} is not a name: give every class a non-empty text")
        if PurePosixPath(name.replace("\\", "/")).parts != (name,) or name == ".." or not name.isprintable():
            raise InputError(f"{where}: class name {name!r} can't be a folder's name: rename the class")
        if name.startswith(".") or name == "__MACOSX" or DRIVE.match(name):
            raise InputError(
                f"{where}: class name {name!r} would be a folder that is passed over or a drive when it is opened again: "
                "rename the class"
            )
        first = seen.get(composed(name))
        if first == name:
            raise InputError(f"{where}: two classes are named {name!r}: rename one")
        if first is not None:
            raise InputError(
                f"{where}: two classes are named {composed(name)!r}, once in NFC and once in another Unicode form "
                f"({first!a} and {name!a}): rename one, or put their images together"
            )
        seen[composed(name)] = name
