"""First-order bootstrap of the Fréchet distance: what each image adds to it, resampled.

A plain bootstrap of this distance repeats the matrix problem for every replicate, and its repeated images
add to the small-sample bias. To first order the distance is a mean over images of their influence
(Hampel, 1974), so resampling the influences gives the sampling noise from one decomposition:

    IF_a(x) = 2 delta.x_c + |x_c|^2 - tr S_a - (x_c^T T x_c - tr (S_a S_b)^1/2)

x_c = x - mu_a, delta = mu_a - mu_b, and T = S_a^-1/2 (S_a^1/2 S_b S_a^1/2)^1/2 S_a^-1/2 the optimal transport
map.
"""

from __future__ import annotations

import numpy as np

from eval.feature_matrix import FloatArray
from eval.kernel import multiplicities


def frechet_replicates(a: FloatArray, b: FloatArray, replicates: int, rng: np.random.Generator) -> FloatArray:
    """Deviations [replicates] of the Fréchet distance of a [n, d] and b [m, d] from its value under
    resampling.
    """
    influence_a, influence_b = frechet_influence(a, b)
    return resampled_mean(influence_a, replicates, rng) + resampled_mean(influence_b, replicates, rng)


def resampled_mean(terms: FloatArray, replicates: int, rng: np.random.Generator) -> FloatArray:
    """Deviation [replicates] of the mean of terms [n] from its value, in bootstrap resamples."""
    centred = terms - terms.mean()
    n = len(terms)
    if n > 1000:  # a mean of that many is normal to within the interval's own noise
        deviations: FloatArray = rng.normal(0.0, centred.std() / np.sqrt(n), replicates)
        return deviations
    resampled: FloatArray = multiplicities(n, replicates, rng) @ centred / n
    return resampled


def frechet_influence(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Influence of every row of a [n, d] and of b [m, d] on their Fréchet distance: [n] and [m], each of mean
    about 0.
    """
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    centred_a, centred_b = a - mean_a, b - mean_b
    delta = mean_a - mean_b
    transported_a, transported_b = _transported(centred_a, centred_b)
    influence_a = 2 * (centred_a @ delta) + np.einsum("ij,ij->i", centred_a, centred_a) - transported_a
    influence_b = -2 * (centred_b @ delta) + np.einsum("ij,ij->i", centred_b, centred_b) - transported_b
    return influence_a - influence_a.mean(), influence_b - influence_b.mean()


def _transported(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """x_c^T T x_c for every centred row of both sides."""
    if max(len(a), len(b)) <= 2 * a.shape[1]:
        # rows are factors of the covariances: A B^T = U S V^T, and a row's term is a row of U S U^T
        scale = np.sqrt((len(a) - 1.0) * (len(b) - 1.0))
        u, s, vt = np.linalg.svd(a @ b.T / scale, full_matrices=False)
        return (len(a) - 1) * ((u**2) @ s), (len(b) - 1) * ((vt.T**2) @ s)
    inverse_a, root_a = _roots(a)
    inverse_b, root_b = _roots(b)
    u, s, vt = np.linalg.svd(root_a.T @ root_b, full_matrices=False)
    half = np.sqrt(s)
    side_a = a @ (inverse_a @ (u * half))
    side_b = b @ (inverse_b @ (vt.T * half))
    return np.einsum("ij,ij->i", side_a, side_a), np.einsum("ij,ij->i", side_b, side_b)


def _roots(centred: FloatArray) -> tuple[FloatArray, FloatArray]:
    """L^-T and L with L L^T the covariance of centred rows, on its numerical range."""
    values, vectors = np.linalg.eigh(centred.T @ centred / (len(centred) - 1))
    # far below this a direction's inverse is noise; its share of the distance is none
    kept = values > max(float(values[-1]), 0.0) * 1e-10
    root = np.sqrt(values[kept])
    return vectors[:, kept] / root, vectors[:, kept] * root
