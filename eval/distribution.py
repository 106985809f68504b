"""Every distributional measure of two feature sets, with its noise: for the whole and, the same way, for a
class.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.estimate import Estimate, share
from eval.feature_matrix import FloatArray
from eval.frechet import frechet_distance_from_features
from eval.influence import frechet_replicates, resampled_mean
from eval.kernel import kernel_bootstrap, subset_values
from eval.manifold import manifold_terms

PRDC = ("precision", "recall", "density", "coverage")
_KERNEL_BOOTSTRAP_IMAGES = 2048  # the bootstrap holds whole kernel matrices
_INFLUENCE_VALUES = 60_000_000  # images x dimensions, float64: half a gigabyte


@dataclass(frozen=True)
class DistributionSettings:
    """k: neighbours of prdc. kid_*: subsets of the kernel distance. replicates: bootstrap (0: no
    intervals).
    """

    k: int = 5
    kid_subset_size: int = 1000
    kid_subsets: int = 100
    replicates: int = 1000
    seed: int = 0


def compare_distributions(
    real: npt.NDArray[Any],
    fake: npt.NDArray[Any],
    wanted: Collection[str],
    settings: DistributionSettings,
    stream: int = 0,
) -> dict[str, Estimate]:
    """The wanted measures ("frechet", "kid", "prdc") of fake [m, d] against real [n, d]; `stream` varies the
    noise seed.

    Keys: frechet, kid, kid_std, precision, recall, density, coverage. "prdc" needs more than k images on both
        sides.
    """
    rng = np.random.default_rng([settings.seed, stream])
    result: dict[str, Estimate] = {}
    if "frechet" in wanted:
        result["frechet"] = _frechet(real, fake, settings.replicates, rng)
    if "kid" in wanted:
        result.update(_kid(real, fake, settings, rng))
    if "prdc" in wanted:
        terms = manifold_terms(real, fake, settings.k)
        result["precision"] = share(terms.precision, settings.replicates, rng)
        result["recall"] = share(terms.recall, settings.replicates, rng)
        result["density"] = _mean(terms.density, settings.replicates, rng)
        result["coverage"] = share(terms.coverage, settings.replicates, rng)
    return result


def _frechet(
    real: npt.NDArray[Any], fake: npt.NDArray[Any], replicates: int, rng: np.random.Generator
) -> Estimate:
    value = frechet_distance_from_features(real, fake)
    drawn = None
    if replicates and max(len(real), len(fake)) * real.shape[1] <= _INFLUENCE_VALUES:
        deviations = frechet_replicates(real.astype(np.float64), fake.astype(np.float64), replicates, rng)
        drawn = value + deviations
    return Estimate(value, drawn, lowest=0.0)


def _kid(
    real: npt.NDArray[Any],
    fake: npt.NDArray[Any],
    settings: DistributionSettings,
    rng: np.random.Generator,
) -> dict[str, Estimate]:
    size = min(settings.kid_subset_size, len(real), len(fake))
    values = subset_values(real, fake, size, settings.kid_subsets, settings.seed)
    value = float(values.mean())
    drawn = None
    # of 2 images only one resample has a pair, the images themselves: that is no noise to tell
    if (
        settings.replicates
        and 2 < min(len(real), len(fake))
        and max(len(real), len(fake)) <= _KERNEL_BOOTSTRAP_IMAGES
    ):
        replicates = kernel_bootstrap(
            real.astype(np.float64), fake.astype(np.float64), settings.replicates, rng
        )
        drawn = value + replicates - replicates.mean()
    return {"kid": Estimate(value, drawn), "kid_std": Estimate(float(values.std()))}


def _mean(terms: FloatArray, replicates: int, rng: np.random.Generator) -> Estimate:
    value = float(terms.mean())
    drawn = value + resampled_mean(terms, replicates, rng) if replicates else None
    return Estimate(value, drawn, lowest=0.0)
