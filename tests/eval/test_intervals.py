"""The intervals: what they claim about sampling noise is what repeated sampling shows."""

from __future__ import annotations

import numpy as np
import pytest

import eval.distribution
from eval import frechet_distance_from_features, kernel_distance, prdc
from eval.distribution import DistributionSettings, compare_distributions
from eval.estimate import Estimate, mean_of, share
from eval.influence import frechet_influence, frechet_replicates, resampled_mean


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


@pytest.mark.parametrize(("n", "m", "d"), [(80, 70, 5), (15, 12, 20)])
def test_both_sides_have_their_influence(n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 1.3 + 0.5
    of_a, of_b = frechet_influence(a, b)
    of_b_first, of_a_second = frechet_influence(b, a)
    np.testing.assert_allclose(of_b, of_b_first, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(of_a, of_a_second, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("n", [900, 4000])  # by resampling, and by the normal law
def test_a_mean_scatters_by_its_standard_error(n: int) -> None:
    terms = np.random.default_rng(5).exponential(3.0, n)
    drawn = resampled_mean(terms, 4000, np.random.default_rng(6))
    assert drawn.std() == pytest.approx(terms.std() / np.sqrt(n), rel=0.05)
    assert abs(drawn.mean()) < 4 * terms.std() / np.sqrt(n * 4000)


def test_a_distance_near_zero_has_no_negative_interval() -> None:
    same = np.random.default_rng(7).standard_normal((40, 3))
    settings = DistributionSettings(replicates=200)
    found = compare_distributions(same, same[::-1].copy(), {"frechet"}, settings)["frechet"]
    assert found.replicates is not None
    assert found.replicates.min() < 0  # to first order it scatters around 0
    assert found.interval is not None
    assert found.interval[0] == pytest.approx(0, abs=1e-12)


def test_sets_beyond_the_memory_limit_have_a_distance_without_an_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(eval.distribution, "_INFLUENCE_VALUES", 40 * 3)  # rows of the larger set x dimensions
    rows = np.random.default_rng(8).standard_normal((41, 3))
    settings = DistributionSettings(replicates=50)
    within = compare_distributions(rows[:40], rows[:9], {"frechet"}, settings)["frechet"]
    beyond = compare_distributions(rows[:9], rows, {"frechet"}, settings)["frechet"]
    assert within.interval is not None
    assert beyond.interval is None
    assert beyond.value == frechet_distance_from_features(rows[:9], rows)


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


def test_every_measure_has_an_interval_around_its_value() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((80, 6)), rng.standard_normal((70, 6)) + 0.5
    settings = DistributionSettings(k=3, kid_subset_size=40, kid_subsets=20, replicates=400, seed=5)
    wanted = ("frechet", "kid", "prdc")
    found = compare_distributions(a, b, wanted, settings)
    kid, kid_std = kernel_distance(a, b, 40, 20, 5)
    values = {
        "frechet": frechet_distance_from_features(a, b),
        "kid": kid,
        "kid_std": kid_std,
        **prdc(a, b, 3),
    }
    assert {name: estimate.value for name, estimate in found.items()} == pytest.approx(values, rel=1e-9)
    assert found.pop("kid_std").interval is None
    for name, estimate in found.items():
        assert estimate.replicates is not None, name
        assert len(estimate.replicates) == 400, name
        spread = estimate.replicates.std()
        assert spread > 0, name
        assert abs(estimate.replicates.mean() - estimate.value) < 0.25 * spread, name
        low, high = estimate.interval or (0, 0)
        assert low < estimate.value < high, name
    # another stream: other noise, the same values
    other = compare_distributions(a, b, wanted, settings, stream=1)
    assert all(other[name].value == estimate.value for name, estimate in found.items())
    assert not any(np.array_equal(other[name].replicates, e.replicates) for name, e in found.items())
    without = compare_distributions(a, b, wanted, DistributionSettings(k=3, replicates=0))
    assert all(estimate.interval is None for estimate in without.values())
    assert set(compare_distributions(a, b, ("kid",), settings)) == {"kid", "kid_std"}


def test_an_interval_stays_within_the_range_of_its_measure() -> None:
    drawn = np.linspace(-1.0, 3.0, 4001)
    assert Estimate(1.0, drawn).interval == pytest.approx((-0.9, 2.9))
    assert Estimate(1.0, drawn, 0.0, 2.0).interval == (0.0, 2.0)
    assert Estimate(3.5, drawn).interval == pytest.approx((-0.9, 3.5))
    assert Estimate(1.0, np.empty(0)).interval is None
