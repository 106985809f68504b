"""Mean and covariance of features, gathered batch by batch: memory is d x d whatever the number of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import dsyrk

from eval.feature_matrix import FloatArray, as_array, check_finite
from gan_lt.errors import InputError


class StreamingMoments:
    """Mean and unbiased covariance of feature batches, in float64, by the pairwise update of Chan et al.
    (1979).

    Each batch is centred on its own mean before its scatter matrix is taken, so features far from zero
    lose no digits, and two accumulators (of two processes, say) merge exactly.
    """

    def __init__(self, dim: int) -> None:
        if dim < 1:
            raise InputError(f"dim is {dim}; features need at least one dimension")
        self.dim = dim
        self.count = 0
        self._mean: FloatArray = np.zeros(dim)
        # Fortran order, upper triangle only: BLAS syrk updates it in place at half the price of a product
        self._scatter: FloatArray = np.zeros((dim, dim), order="F")

    def update(self, features: Any) -> None:
        """Add a batch [n, d] (n >= 0). Raises InputError on another width or on NaN or infinity."""
        batch = as_array(features, "features")
        if batch.ndim != 2 or batch.shape[1] != self.dim:
            raise InputError(f"features have shape {batch.shape}; expected [n, {self.dim}]")
        if len(batch) == 0:
            return
        check_finite(batch, "features")
        rows = batch.astype(np.float64)
        mean = rows.mean(axis=0)
        rows -= mean
        self._add(len(rows), mean, rows)

    def merge(self, other: StreamingMoments) -> None:
        """Add everything `other` has seen. Raises InputError if the widths differ."""
        if other.dim != self.dim:
            raise InputError(f"can't merge moments of {other.dim} dimensions into {self.dim}")
        if other.count == 0:
            return
        self._scatter += other._scatter
        self._shift_mean(other.count, other._mean)

    def _add(self, count: int, mean: FloatArray, centred: FloatArray) -> None:
        # the transpose of a C-ordered batch is Fortran-ordered, so nothing is copied here
        self._scatter = dsyrk(1.0, centred.T, beta=1.0, c=self._scatter, overwrite_c=1)
        self._shift_mean(count, mean)

    def _shift_mean(self, count: int, mean: FloatArray) -> None:
        total = self.count + count
        delta = mean - self._mean
        if self.count:
            self._scatter = dsyrk(
                self.count * count / total, delta[:, None], beta=1.0, c=self._scatter, overwrite_c=1
            )
        self._mean = self._mean + delta * (count / total)
        self.count = total

    @property
    def mean(self) -> FloatArray:
        """Mean [d] of all features so far."""
        if self.count == 0:
            raise InputError("no features were given; a mean needs at least 1 image")
        return self._mean.copy()

    @property
    def covariance(self) -> FloatArray:
        """Unbiased covariance [d, d] (division by n - 1). Raises InputError for fewer than 2 images."""
        if self.count < 2:
            raise InputError(f"{self.count} images were given; a covariance needs at least 2")
        upper = np.triu(self._scatter) / (self.count - 1)
        full: FloatArray = upper + np.triu(upper, 1).T
        return full


def moments(features: npt.NDArray[Any], rows_per_step: int = 8192) -> tuple[FloatArray, FloatArray]:
    """Mean [d] and unbiased covariance [d, d] of features [n, d], in float64, without a float64 copy of them
    all.
    """
    gathered = StreamingMoments(features.shape[1])
    for start in range(0, len(features), rows_per_step):
        gathered.update(features[start : start + rows_per_step])
    return gathered.mean, gathered.covariance
