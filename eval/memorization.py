"""Memorization: generated images that lie closer to a training image than training images lie to one
another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.feature_matrix import FloatArray, feature_pair
from eval.manifold import kth_neighbour_distance, squared_distances
from gan_lt.errors import InputError

CLOSENESS = 0.05
_BLOCK_ENTRIES = 16_000_000


@dataclass(frozen=True)
class Memorization:
    """share: of generated images of a class that are nearer to a training image than `threshold`.

    nearest [m]: index of the nearest training image; distance [m]: to it; threshold: the distance below which
    training images all but never lie to one another.
    """

    share: float
    nearest: npt.NDArray[np.int64]
    distance: FloatArray
    threshold: float

    @property
    def copied(self) -> npt.NDArray[np.bool_]:
        """Which images [m] count as copies."""
        result: npt.NDArray[np.bool_] = self.distance < self.threshold
        return result


def memorization(train: Any, fake: Any, closeness: float = CLOSENESS) -> Memorization:
    """Memorization of one class's training images [n, d] in its generated ones [m, d] (features or flat
    pixels).

    The threshold is the `closeness` quantile of the training images' distances to their nearest different
    neighbour: with 0 their smallest distance; the default 0.05 is the same for a class of ten, and keeps one
    near-duplicate pair among thousands from hiding every copy. Images that occur twice in the training set
    are counted once, for the same reason. Images drawn from the same distribution as the training ones score
    about `closeness` or less, copies score 1.

    Raises InputError for fewer than 2 different training images, no generated ones, or closeness outside [0,
    1].
    """
    known, made = feature_pair(train, fake, minimum=1, names=("train", "fake"))
    images = KnownImages(known, closeness)
    nearest, distance = images.nearest(made)
    return Memorization(float((distance < images.threshold).mean()), nearest, distance, images.threshold)


class KnownImages:
    """One class's training images [n, d], to be asked again and again how near other images come.

    threshold: the distance below which they all but never lie to one another, see `memorization`.

    Raises InputError for fewer than 2 different images, or closeness outside [0, 1].
    """

    def __init__(self, train: npt.NDArray[Any], closeness: float = CLOSENESS) -> None:
        if not 0 <= closeness <= 1:
            raise InputError(f"closeness is {closeness}; it must be a quantile from 0 to 1")
        known = train.astype(np.float64)
        self._first = _first_of_each(known)
        distinct = known[self._first]
        if len(distinct) < 2:
            raise InputError(
                f"train has {len(distinct)} different images; memorization needs at least 2 to compare with"
            )
        self._centre = distinct.mean(axis=0)
        self._rows = distinct - self._centre
        self.threshold = float(np.quantile(kth_neighbour_distance(self._rows, 1), closeness))

    def nearest(self, made: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], FloatArray]:
        """Of images [m, d]: the index [m] of the nearest training image, and the distance [m] to it."""
        index, distance = _nearest(made.astype(np.float64) - self._centre, self._rows)
        return self._first[index], distance


def _first_of_each(rows: FloatArray) -> npt.NDArray[np.int64]:
    """Positions of the first of each group of equal rows."""
    seen: dict[bytes, int] = {}
    # -0.0 equals 0.0 in other bytes; adding 0.0 leaves only the latter
    for position, row in enumerate(rows):
        seen.setdefault((row + 0.0).tobytes(), position)
    return np.fromiter(seen.values(), np.int64, len(seen))


def _nearest(queries: FloatArray, rows: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray]:
    index = np.empty(len(queries), np.int64)
    distance = np.empty(len(queries))
    norms = np.einsum("ij,ij->i", rows, rows)
    step = max(1, _BLOCK_ENTRIES // len(rows))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        squared = squared_distances(queries[part], rows, norms)
        index[part] = squared.argmin(axis=1)
        # the expanded square loses the smallest distances to rounding, and those are what is asked for
        difference = queries[part] - rows[index[part]]
        distance[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return index, distance
