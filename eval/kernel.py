"""KID: unbiased squared maximum mean discrepancy with a cubic kernel (Binkowski et al., ICLR 2018)."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.feature_matrix import FloatArray, feature_pair
from gan_lt.arguments import check_integer
from gan_lt.errors import InputError

SEED_LIMIT = 2**32  # of numpy's legacy generator, which draws the subsets


def kernel_distance(
    a: Any, b: Any, subset_size: int = 1000, subsets: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance between features a [N, D] and b [M, D]: (mean, standard deviation) over random subsets.

    k(x, y) = (x . y / D + 1)^3; per subset the unbiased estimate of MMD^2, so it may be slightly negative for
    equal distributions. Subsets are drawn without replacement. Where a set has fewer than `subset_size`
    images, all that both sets can give are used and a UserWarning says so; if that is all of both sets,
    every subset is the same one and the standard deviation is 0. `seed` fixes the subsets.

    Raises InputError (a ValueError) for fewer than 2 rows, different widths, NaN, subset_size < 2, subsets
    < 1, a seed outside 0 .. 2^32 - 1, or features so large that the kernel overflows.
    """
    left, right = feature_pair(a, b)
    check_integer(subset_size, "subset_size", 2)
    check_integer(subsets, "subsets", 1)
    check_integer(seed, "seed", 0)
    if seed >= SEED_LIMIT:
        raise InputError(f"seed={seed} must be below 2**32")
    size = min(subset_size, len(left), len(right))
    if size < subset_size:
        warnings.warn(
            f"kernel_distance: subset_size {subset_size} is more than the "
            f"{min(len(left), len(right))} images of "
            f"the smaller set; subsets of {size} are used",
            UserWarning,
            stacklevel=2,
        )
    with np.errstate(over="ignore", invalid="ignore"):
        values = subset_values(left, right, size, subsets, seed)
        mean, deviation = float(values.mean()), float(values.std())
    if not (np.isfinite(mean) and np.isfinite(deviation)):
        largest = max(float(np.abs(side).max()) for side in (left, right))
        raise InputError(
            f"features reach {largest:g}, whose cubic kernel overflows; divide both by one number"
        )
    return mean, deviation


def subset_values(a: npt.NDArray[Any], b: npt.NDArray[Any], size: int, subsets: int, seed: int) -> FloatArray:
    """MMD^2 [subsets] of random subsets of `size` <= N, M rows each; computed in float64 whatever comes
    in.
    """
    if size == len(a) == len(b):
        # every subset is the whole; draw once
        return np.array([_mmd2(cubic_kernel(a, a), cubic_kernel(b, b), cubic_kernel(a, b))])
    # the legacy generator on purpose: its stream is frozen by numpy, so a seed means the same subsets for
    # ever, and the draw order is torch-fidelity's, so that its values come out
    rng = np.random.RandomState(seed)
    whole_cost = len(a) ** 2 + len(b) ** 2 + len(a) * len(b)
    whole = whole_cost <= min(3 * subsets * size**2, 3 * 4000**2)
    if whole:
        aa, bb, ab = cubic_kernel(a, a), cubic_kernel(b, b), cubic_kernel(a, b)
    values = np.empty(subsets)
    for s in range(subsets):
        i = rng.choice(len(a), size, replace=False)
        j = rng.choice(len(b), size, replace=False)
        if whole:
            values[s] = _mmd2(aa[np.ix_(i, i)], bb[np.ix_(j, j)], ab[np.ix_(i, j)])
        else:
            x, y = a[i], b[j]
            values[s] = _mmd2(cubic_kernel(x, x), cubic_kernel(y, y), cubic_kernel(x, y))
    return values


def cubic_kernel(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> FloatArray:
    """k(x, y) = (x . y / D + 1)^3 for rows of x [n, D] and y [m, D]: [n, m], float64."""
    gram: FloatArray = x.astype(np.float64, copy=False) @ y.astype(np.float64, copy=False).T
    gram /= x.shape[1]
    gram += 1.0
    cubed: FloatArray = gram * gram
    cubed *= gram
    return cubed


def _mmd2(aa: FloatArray, bb: FloatArray, ab: FloatArray) -> float:
    n, m = ab.shape
    within_a = (aa.sum() - np.trace(aa)) / (n * (n - 1.0))
    within_b = (bb.sum() - np.trace(bb)) / (m * (m - 1.0))
    return float(within_a + within_b - 2.0 * ab.mean())


def kernel_bootstrap(a: FloatArray, b: FloatArray, replicates: int, rng: np.random.Generator) -> FloatArray:
    """MMD^2 over all images for bootstrap resamples of both sets: [replicates].

    A resample is a vector of multiplicities w, so a replicate is a quadratic form in the kernel matrices,
    which are computed once. Pairs of an image with its own copy are left out, as the unbiased estimate leaves
    out the diagonal, otherwise every replicate would be shifted upward. A resample of copies of one image
    has no pairs left; it is drawn again, so both sets need 2 rows.
    """
    aa, bb, ab = cubic_kernel(a, a), cubic_kernel(b, b), cubic_kernel(a, b)
    np.fill_diagonal(aa, 0.0)
    np.fill_diagonal(bb, 0.0)
    w = _with_pairs(len(a), replicates, rng)
    v = _with_pairs(len(b), replicates, rng)

    def within(weights: FloatArray, kernel: FloatArray) -> FloatArray:
        pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
        quadratic: FloatArray = ((weights @ kernel) * weights).sum(1) / pairs
        return quadratic

    cross = ((w @ ab) * v).sum(1) / (len(a) * float(len(b)))
    result: FloatArray = within(w, aa) + within(v, bb) - 2.0 * cross
    return result


def _with_pairs(n: int, replicates: int, rng: np.random.Generator) -> FloatArray:
    drawn = multiplicities(n, replicates, rng)
    while (alone := drawn.max(axis=1) == n).any():
        drawn[alone] = multiplicities(n, int(alone.sum()), rng)
    return drawn


def multiplicities(n: int, replicates: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """How often each of n images occurs in a bootstrap resample of size n: float64 [replicates, n]."""
    drawn: npt.NDArray[np.float64] = rng.multinomial(n, np.full(n, 1.0 / n), size=replicates).astype(
        np.float64
    )
    return drawn
