"""A measured value with what resampling says about its noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.feature_matrix import FloatArray

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """value, and replicates [R] of it under resampling of the images (None: noise not estimated).

    The interval tells sampling noise alone. A bias, such as that of the Fréchet distance with few images,
    is not in it.
    """

    value: float
    replicates: FloatArray | None = None
    lowest: float = -math.inf
    highest: float = math.inf

    @property
    def interval(self) -> tuple[float, float] | None:
        """Central 95 % of the replicates, within the measure's range."""
        if self.replicates is None or len(self.replicates) == 0:
            return None
        edge = (1 - LEVEL) / 2
        low, high = np.quantile(self.replicates, [edge, 1 - edge])
        # Jeffreys' interval of a share near 0 or 1 can end short of the share itself (Brown et al., 2001)
        low, high = min(float(low), self.value), max(float(high), self.value)
        return max(low, self.lowest), min(high, self.highest)


def share(terms: FloatArray, replicates: int, rng: np.random.Generator) -> Estimate:
    """The mean of 0/1 terms [n] with Jeffreys' interval, which stays honest at 0 and 1."""
    hits = float(terms.sum())
    drawn = rng.beta(hits + 0.5, len(terms) - hits + 0.5, replicates) if replicates else None
    return Estimate(float(terms.mean()), drawn, 0.0, 1.0)


def mean_of(estimates: Sequence[Estimate | None]) -> Estimate | None:
    """Mean over the classes that have a value, replicates averaged likewise; None if none has.

    Whoever prints it says which classes are left out.
    """
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return None
    drawn = [estimate.replicates for estimate in known if estimate.replicates is not None]
    replicates = np.mean(drawn, axis=0) if len(drawn) == len(known) else None
    value = float(np.mean([estimate.value for estimate in known]))
    return Estimate(value, replicates, known[0].lowest, known[0].highest)
