"""Fréchet distance between Gaussians fitted to two feature sets (Heusel et al., NeurIPS 2017; Dowson &
Landau, 1982).

    d^2 = |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))

The trace of the square root is the only hard part. With S_a = L_a L_a^T and S_b = L_b L_b^T for any factors,
tr (S_a S_b)^(1/2) is the sum of the singular values of L_a^T L_b: real and non-negative by construction, with
no epsilon added and nothing imaginary to drop. From moments the factors come from symmetric eigenvectors;
from features the centred rows themselves are factors, and the problem is only n x m.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.feature_matrix import FloatArray, as_array, feature_pair
from eval.moments import moments
from gan_lt.errors import InputError

_SYMMETRY_TOLERANCE = 1e-6  # relative to the largest entry; rounding in a float32 covariance stays under it
_NEGATIVE_TOLERANCE = 1e-5  # relative to the largest eigenvalue, likewise


def frechet_distance(mu_a: Any, sigma_a: Any, mu_b: Any, sigma_b: Any) -> float:
    """Squared Fréchet distance between N(mu_a, sigma_a) and N(mu_b, sigma_b): the "FID" formula.

    mu_a, mu_b: [d]. sigma_a, sigma_b: [d, d], symmetric positive semi-definite, of any rank. Computed in
    float64; the result is real and never negative, and 0 for equal arguments.

    Raises InputError (a ValueError) for shapes that don't fit, values that are not finite, a matrix that is
    not symmetric, or one with a clearly negative eigenvalue.

    >>> frechet_distance([0.0, 0.0], [[1, 0], [0, 4]], [3.0, 4.0], [[1, 0], [0, 1]])
    26.0
    """
    mean_a, cov_a = _gaussian(mu_a, sigma_a, "a")
    mean_b, cov_b = _gaussian(mu_b, sigma_b, "b")
    if len(mean_a) != len(mean_b):
        raise InputError(f"mu_a has {len(mean_a)} dimensions and mu_b has {len(mean_b)}; they must be equal")
    root_trace = nuclear_norm(_factor(cov_a, "sigma_a").T @ _factor(cov_b, "sigma_b"))
    return _assemble(mean_a - mean_b, float(np.trace(cov_a)), float(np.trace(cov_b)), root_trace)


def frechet_distance_from_features(a: Any, b: Any) -> float:
    """Squared Fréchet distance between Gaussians fitted (unbiased, n - 1) to features a [N, D] and b [M, D].

    Exact for every N, M >= 2, also where the covariances are rank-deficient. For N, M up to about D it solves
    an N x M problem and never forms a D x D matrix; for more images it goes through the covariances.

    Raises InputError (a ValueError) for fewer than 2 rows, different widths, NaN or infinity.
    """
    left, right = feature_pair(a, b)
    if max(len(left), len(right)) > 2 * left.shape[1]:
        return frechet_distance(*moments(left), *moments(right))
    left, right = left.astype(np.float64, copy=False), right.astype(np.float64, copy=False)
    mean_a, mean_b = left.mean(axis=0), right.mean(axis=0)
    centred_a, centred_b = left - mean_a, right - mean_b
    degrees_a, degrees_b = len(left) - 1, len(right) - 1
    root_trace = nuclear_norm(centred_a @ centred_b.T) / np.sqrt(float(degrees_a) * degrees_b)
    trace_a = float(np.vdot(centred_a, centred_a)) / degrees_a
    trace_b = float(np.vdot(centred_b, centred_b)) / degrees_b
    return _assemble(mean_a - mean_b, trace_a, trace_b, root_trace)


def nuclear_norm(matrix: FloatArray) -> float:
    """Sum of singular values. An SVD, not eigenvalues of a square, so that zeros stay at 1e-16 and not at
    1e-8.
    """
    if min(matrix.shape) == 0:
        return 0.0
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def _assemble(delta: FloatArray, trace_a: float, trace_b: float, root_trace: float) -> float:
    # by Cauchy-Schwarz the sum is >= 0; only rounding can take it below
    return max(0.0, float(float(delta @ delta) + trace_a + trace_b - 2.0 * root_trace))


def _factor(sigma: FloatArray, what: str) -> FloatArray:
    """L [d, r] with L L^T = sigma, r the numerical rank."""
    values, vectors = np.linalg.eigh(sigma)
    largest = max(float(values[-1]), 0.0)
    if values[0] < -_NEGATIVE_TOLERANCE * max(largest, float(np.abs(values).max()) * 1e-3):
        raise InputError(f"{what} has the eigenvalue {values[0]:.6g}; a covariance has none below 0")
    # directions whose variance is rounding noise would enter through its square root, 1e-8 a piece
    kept = values > largest * len(values) * np.finfo(np.float64).eps
    factor: FloatArray = vectors[:, kept] * np.sqrt(values[kept])
    return factor


def _gaussian(mu: Any, sigma: Any, side: str) -> tuple[FloatArray, FloatArray]:
    mean = np.atleast_1d(as_array(mu, f"mu_{side}")).astype(np.float64)
    cov = np.atleast_2d(as_array(sigma, f"sigma_{side}")).astype(np.float64)
    if mean.ndim != 1:
        raise InputError(f"mu_{side} has shape {mean.shape}; a mean is 1-D [d]")
    if cov.shape != (len(mean), len(mean)):
        raise InputError(
            f"sigma_{side} has shape {cov.shape}; with mu_{side} of {len(mean)} it must be square [d, d]"
        )
    for name, array in ((f"mu_{side}", mean), (f"sigma_{side}", cov)):
        if not np.isfinite(array).all():
            raise InputError(f"{name} holds {array[~np.isfinite(array)][0]}; it must be finite")
    asymmetry = float(np.abs(cov - cov.T).max(initial=0.0))
    if asymmetry > _SYMMETRY_TOLERANCE * max(float(np.abs(cov).max(initial=0.0)), np.finfo(np.float64).tiny):
        raise InputError(
            f"sigma_{side} differs from its transpose by {asymmetry:.3g}; a covariance is symmetric"
        )
    return mean, (cov + cov.T) / 2.0
