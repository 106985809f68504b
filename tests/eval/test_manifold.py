"""Precision, recall, density and coverage against the authors' package, and on sets with known answers."""

from __future__ import annotations

import numpy as np
import pytest

import eval.manifold
from eval import prdc
from eval.manifold import expected_coverage, squared_distances
from gan_lt.errors import InputError


def sets(seed: int, n: int = 120, m: int = 90, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 0.8 + 0.2


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_the_prdc_package(k: int, seed: int) -> None:
    from prdc import compute_prdc

    real, fake = sets(seed)
    ours, theirs = prdc(real, fake, k), compute_prdc(real, fake, k)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(float(value), rel=1e-6), name


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = sets(2)
    whole = prdc(real, fake)
    monkeypatch.setattr(eval.manifold, "_BLOCK_ENTRIES", 700)
    assert prdc(real, fake) == whole


def test_equal_sets_cover_one_another() -> None:
    real, _ = sets(3)
    result = prdc(real, real.copy())
    assert result["precision"] == result["recall"] == result["coverage"] == 1


def test_a_collapsed_set_has_precision_without_recall() -> None:
    real, _ = sets(4)
    result = prdc(real, np.repeat(real[:1], 40, axis=0))
    assert result["precision"] == 1
    assert result["recall"] == 0
    assert result["coverage"] < 0.2


def test_order_of_images_does_not_matter() -> None:
    real, fake = sets(5)
    rng = np.random.default_rng(0)
    assert prdc(rng.permutation(real), rng.permutation(fake)) == pytest.approx(prdc(real, fake), rel=1e-12)


def test_the_border_of_a_ball_is_outside() -> None:
    pairs = np.array([[0.0], [1.0], [10.0], [11.0]])  # each one's nearest is 1 away
    at_the_borders = np.array([[-1.0], [2.0], [9.0], [12.0]])
    wide = {"precision": 0.0, "recall": 1.0, "density": 0.0, "coverage": 0.0}
    assert prdc(pairs, at_the_borders, k=1) == wide
    assert prdc(at_the_borders, pairs, k=1)["recall"] == 0


@pytest.mark.parametrize(("n", "m", "dims"), [(600, 600, 300), (60, 50, 3), (300, 300, 64)])
def test_equal_distances_are_not_smaller_ones(n: int, m: int, dims: int) -> None:
    """Shared images and quantised features: many pairs lie exactly on a border, which rounding must not move."""
    from prdc import compute_prdc

    rng = np.random.default_rng(0)
    if dims == 3:
        real, fake = rng.integers(0, 3, (n, dims)) * 1.0, rng.integers(0, 3, (m, dims)) * 1.0
    else:
        real = fake = rng.normal(size=(n, dims))
        if dims == 64:
            fake = np.concatenate([real[:100], rng.normal(size=(m - 100, dims))])
    for k in (1, 5):
        ours, theirs = prdc(real, fake, k), compute_prdc(real, fake, k)
        for name, value in theirs.items():
            assert ours[name] == pytest.approx(float(value), abs=1e-9), name


def test_a_large_common_offset_costs_no_digits() -> None:
    real, fake = sets(7)
    offset = np.linspace(-1e7, 1e7, real.shape[1])
    assert prdc(real + offset, fake + offset) == pytest.approx(prdc(real, fake), abs=1e-12)


def test_distances_are_those_of_the_differences() -> None:
    x, y = sets(8, n=5, m=7)
    direct = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(x, y), direct, rtol=1e-12)
    np.testing.assert_allclose(squared_distances(x, y, (y**2).sum(axis=1)), direct, rtol=1e-12)


def test_the_set_with_bad_values_is_named() -> None:
    real, fake = sets(9)
    fake[3, 2] = np.nan
    with pytest.raises(InputError, match=r"^fake holds nan in row 3"):
        prdc(real, fake)


@pytest.mark.parametrize(
    ("k", "message"), [(0, "k is 0"), (2.5, "k is 2.5"), (90, "with k = 90 at least 91")]
)
def test_bad_neighbours_are_named(k: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prdc(*sets(6), k=k)


@pytest.mark.parametrize(("n", "m", "k"), [(50, 50, 5), (30, 90, 3), (40, 10, 1)])
def test_equal_distributions_cover_what_is_expected(n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(n)
    found = [prdc(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)), k)["coverage"] for _ in range(300)]
    assert np.mean(found) == pytest.approx(expected_coverage(n, m, k), abs=3.5 * np.std(found) / 300**0.5)
