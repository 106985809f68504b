"""Which images come too near to training images, or to one another: distances between pixels, as the evaluation has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eval.extractors.classifier import MAX_RESOLUTION, resize_area
from eval.manifold import squared_distances
from eval.memorization import KnownImages
from gan_lt.data import ImageSet
from gan_lt.errors import InputError

# root-mean-square difference of pixels in [0, 1] below which two images pass for one, where no training images say it
DUPLICATE_RMS = 0.02
_ROUNDING = 1e-5


def pixel_points(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 [n, C, H, W] -> points [n, d] in [0, 1], at most 64 pixels wide, as `eval` measures memorization in."""
    small = resize_area(images, min(images.shape[-1], MAX_RESOLUTION))
    return small.reshape(len(small), -1).astype(np.float32) / np.float32(255)


class TrainingCopies:
    """Near-copies of training images, class by class, by the threshold of `eval.memorization`.

    data: real images of the generator's size. class_names: the K classes, by which the labels below go.
    option: what asked for it, for messages.

    Raises:
        InputError: a class without training images, or with only one, or with copies of one.
    """

    def __init__(self, data: ImageSet, class_names: tuple[str, ...], option: str = "--drop-copies") -> None:
        self._data, self._class_names, self._option = data, class_names, option
        self._known: dict[int, KnownImages] = {}
        for name in class_names:
            if name not in data.class_names:
                raise InputError(
                    f"{option}: {data.name} has no class {name!r}; pass --train-data with the network's classes"
                )

    def threshold(self, label: int) -> float:
        """Distance [0, sqrt(d)] under which an image of the class is a copy."""
        return self._class(label).threshold

    def find(self, points: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the points [n, d], of classes `labels` [n], are near-copies."""
        copies = np.zeros(len(points), dtype=bool)
        for label in np.unique(labels).tolist():
            rows = np.flatnonzero(labels == label)
            known = self._class(label)
            copies[rows] = known.nearest(points[rows])[1] < known.threshold
        return copies

    def _class(self, label: int) -> KnownImages:
        if label not in self._known:
            name = self._class_names[label]
            of_class = self._data.labels == self._data.class_names.index(name)
            try:
                self._known[label] = KnownImages(pixel_points(self._data.images(of_class)))
            except InputError as error:
                raise InputError(f"{self._option}: class {name!r} of {self._data.name}: {error}") from error
        return self._known[label]


class Originals:
    """The accepted images of one class; tells whether another comes nearer to one of them than `distance`."""

    def __init__(self, distance: float, limit: int) -> None:
        self._distance, self._limit = distance, limit
        self._points: NDArray[np.float32] | None = None
        self._count = 0

    def accept(self, points: NDArray[np.float32], wanted: int) -> NDArray[np.bool_]:
        """Points [n, d] in order -> which are kept [n]: each compared with those kept before, until `wanted` are."""
        if self._points is None:
            self._points = np.empty((self._limit, points.shape[1]), dtype=np.float32)
        near_old = (
            self._within(points, self._points[: self._count]).any(axis=1)
            if self._count
            else np.zeros(len(points), dtype=bool)
        )
        near_one_another = self._within(points, points)
        kept = np.zeros(len(points), dtype=bool)
        for i in np.flatnonzero(~near_old).tolist():
            if kept.sum() < wanted and not (near_one_another[i, :i] & kept[:i]).any():
                kept[i] = True
        fresh = points[kept]
        self._points[self._count : self._count + len(fresh)] = fresh
        self._count += len(fresh)
        return kept

    def _within(self, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
        """[n, m]: which pairs are nearer than the distance."""
        squared = squared_distances(a - np.float32(0.5), b - np.float32(0.5))  # type: ignore[arg-type]
        # single precision finds the few pairs that are worth the exact difference
        near: NDArray[np.bool_] = squared < self._distance**2 + _ROUNDING * a.shape[1]
        for i, j in np.argwhere(near).tolist():
            difference = a[i].astype(np.float64) - b[j]
            near[i, j] = np.sqrt(difference @ difference) < self._distance
        return near
