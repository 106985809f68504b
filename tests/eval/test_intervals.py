"""The intervals: what they claim about sampling noise is what repeated sampling shows."""

from __future__ import annotations

import numpy as np
import pytest

from eval import frechet_distance_from_features
from eval.estimate import Estimate, mean_of, share
from eval.influence import frechet_influence, frechet_replicates


@pytest.mark.parametrize(("n", "d"), [(300, 8), (60, 40)])
def test_frechet_noise_is_that_of_repeated_sampling(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    scale = np.linspace(0.5, 2, d)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        return rng.standard_normal((n, d)), rng.standard_normal((n, d)) * scale + 0.3

    observed = np.std([frechet_distance_from_features(*draw()) for _ in range(150)])
    claimed = np.mean([frechet_replicates(*draw(), 400, rng).std() for _ in range(10)])
    assert claimed == pytest.approx(observed, rel=0.25)


@pytest.mark.parametrize(("n", "m", "d"), [(80, 70, 5), (15, 12, 20)])
def test_influence_is_the_derivative(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 1.3 + 0.5
    influence, _ = frechet_influence(a, b)
    # repeating all rows many times and one row once more moves the distribution towards that row by 1/N
    copies = 400
    repeated = np.repeat(a, copies, axis=0)
    wide = np.repeat(b, copies, axis=0)
    start = frechet_distance_from_features(repeated, wide)
    moved = [frechet_distance_from_features(np.vstack([repeated, a[i : i + 1]]), wide) for i in range(6)]
    slope = (np.array(moved) - start) * n * copies
    np.testing.assert_allclose(
        slope - slope.mean(), influence[:6] - influence[:6].mean(), rtol=0.03, atol=0.05
    )


def test_share_interval_is_honest_at_the_ends() -> None:
    rng = np.random.default_rng(2)
    low, high = share(np.ones(50), 4000, rng).interval or (0, 0)
    assert high == 1
    assert 0.9 < low < 0.99
    low, high = share(np.zeros(10), 4000, rng).interval or (0, 0)
    assert low == 0
    assert 0.1 < high < 0.4


def test_mean_over_classes_narrows_the_interval() -> None:
    rng = np.random.default_rng(3)
    one = Estimate(1.0, 1 + rng.standard_normal(2000))
    mean = mean_of([Estimate(1.0, 1 + rng.standard_normal(2000)) for _ in range(16)])
    assert mean is not None
    assert mean.value == 1
    wide, narrow = one.interval, mean.interval
    assert wide is not None
    assert narrow is not None
    assert (narrow[1] - narrow[0]) == pytest.approx((wide[1] - wide[0]) / 4, rel=0.15)
    assert mean_of([None, None]) is None
