"""Precision, recall (Kynkäänniemi et al., NeurIPS 2019), density and coverage (Naeem et al., ICML 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.feature_matrix import FloatArray, feature_pair
from gan_lt.errors import InputError

_BLOCK_ENTRIES = 16_000_000  # distances held at a time: 128 MB


@dataclass(frozen=True)
class ManifoldTerms:
    """What the four measures are means of: one term an image."""

    precision: FloatArray  # [n_fake] 1 where the fake lies in some real image's k-ball
    density: FloatArray  # [n_fake] number of real k-balls around the fake, over k
    recall: FloatArray  # [n_real] 1 where the real lies in some fake image's k-ball
    coverage: FloatArray  # [n_real] 1 where the real's own k-ball holds a fake

    def means(self) -> dict[str, float]:
        return {
            "precision": float(self.precision.mean()),
            "recall": float(self.recall.mean()),
            "density": float(self.density.mean()),
            "coverage": float(self.coverage.mean()),
        }


def prdc(real: Any, fake: Any, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage of fake [M, D] against real [N, D], with k-nearest-neighbour
    balls.

    A ball reaches to the k-th nearest other image of its own set, its border excluded. Precision: share of
    fakes in a real ball. Recall: share of reals in a fake ball. Density: mean number of real balls around a
    fake over k (may exceed 1). Coverage: share of real balls with a fake in them. Beside the features memory
    is bounded, whatever N and M.

    Raises InputError (a ValueError) unless both have more than k rows, equal width and finite values, and k
    >= 1.
    """
    return manifold_terms(real, fake, k).means()


def manifold_terms(real: Any, fake: Any, k: int = 5) -> ManifoldTerms:
    """The per-image terms whose means are `prdc`; arguments and errors are the same."""
    left, right = feature_pair(real, fake, names=("real", "fake"))
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise InputError(f"k is {k}; it must be an integer of at least 1")
    for name, given in (("real", left), ("fake", right)):
        if len(given) <= k:
            raise InputError(f"{name} has {len(given)} rows; with k = {k} at least {k + 1} images are needed")
    centre = left.mean(
        axis=0, dtype=np.float64
    )  # a common shift keeps distances and spares |x|^2 + |y|^2 - 2xy its cancellation
    left, right = left - centre, right - centre
    limit_real, limit_fake = _ball_limits(left, k), _ball_limits(right, k)

    n, m = len(left), len(right)
    covered, recalled = np.zeros(n), np.zeros(n)
    balls = np.zeros(m)
    norms_fake = np.einsum("ij,ij->i", right, right)
    rows = max(1, _BLOCK_ENTRIES // m)
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        squared = squared_distances(left[part], right, norms_fake)
        inside_real = squared < limit_real[part, None]
        balls += inside_real.sum(axis=0)
        covered[part] = inside_real.any(axis=1)
        recalled[part] = (squared < limit_fake[None, :]).any(axis=1)
    return ManifoldTerms((balls > 0).astype(np.float64), balls / k, recalled, covered)


def _ball_limits(features: FloatArray, k: int) -> FloatArray:
    """Squared radii [n] of the rows' k-balls, less what rounding may add: equal distances must not count as smaller.

    A squared distance is rounded in units of |x|^2 + |y|^2, and near the border |y|^2 is at most 2 |x|^2 + 2 r^2.
    """
    squared: FloatArray = kth_neighbour_distance(features, k) ** 2
    limits: FloatArray = squared - 1e-12 * (3 * np.einsum("ij,ij->i", features, features) + 2 * squared)
    return limits


def expected_coverage(n_real: int, n_fake: int, k: int = 5) -> float:
    """What fakes from the distribution of the reals cover on average (Naeem et al., section 3.3).

    0.973 of 50 and 50 with k = 5, but 0.9998 of 50 and 200: with many fakes a real, coverage is near 1 for anything.
    """
    i = np.arange(1, k + 1)
    return float(1 - np.prod((n_real - i) / (n_real + n_fake - i)))


def kth_neighbour_distance(features: FloatArray, k: int) -> FloatArray:
    """Distance [n] from every row to its k-th nearest other row (k >= 1, n > k)."""
    n = len(features)
    norms = np.einsum("ij,ij->i", features, features)
    result = np.empty(n)
    rows = max(1, _BLOCK_ENTRIES // n)
    for start in range(0, n, rows):
        block = squared_distances(features[start : start + rows], features, norms)
        own = np.arange(len(block))
        block[own, start + own] = np.inf  # an image is not its own neighbour
        result[start : start + rows] = np.partition(block, k - 1, axis=1)[:, k - 1]
    return np.sqrt(result)


def squared_distances(
    x: FloatArray, y: FloatArray, y_norms: npt.NDArray[np.float64] | None = None
) -> FloatArray:
    """Squared Euclidean distances [n, m] between rows of x [n, D] and y [m, D]; pass rows near the origin."""
    if y_norms is None:
        y_norms = np.einsum("ij,ij->i", y, y)
    squared = x @ y.T
    squared *= -2.0
    squared += np.einsum("ij,ij->i", x, x)[:, None]
    squared += y_norms[None, :]
    return np.maximum(squared, 0.0, out=squared)
