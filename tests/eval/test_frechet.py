"""The Fréchet distance against closed forms, a dense matrix square root and other implementations."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import frechet_distance, frechet_distance_from_features
from eval.feature_matrix import check_finite
from eval.moments import moments
from gan_lt.errors import InputError
from gan_lt.torchvision_compat import import_torchvision


def dense(a: np.ndarray, b: np.ndarray) -> float:
    """The textbook formula, with the general square root."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    delta = a.mean(0) - b.mean(0)
    return float(
        delta @ delta + np.trace(cov_a + cov_b) - 2 * np.trace(scipy.linalg.sqrtm(cov_a @ cov_b).real)
    )


def features(n: int, d: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((d, d)) / np.sqrt(d)
    return rng.standard_normal((n, d)) @ mix * scale + shift


def test_diagonal_gaussians_have_a_closed_form() -> None:
    sd_a, sd_b = np.array([1.0, 2.0, 0.5]), np.array([3.0, 1.0, 0.5])
    mu_a, mu_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    expected = ((mu_a - mu_b) ** 2).sum() + ((sd_a - sd_b) ** 2).sum()
    assert frechet_distance(mu_a, np.diag(sd_a**2), mu_b, np.diag(sd_b**2)) == pytest.approx(
        expected, rel=1e-12
    )


def test_commuting_covariances_have_a_closed_form() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    a, b = np.arange(1.0, 7.0), np.arange(6.0, 0.0, -1.0)
    expected = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    zero = np.zeros(6)
    value = frechet_distance(zero, basis * a @ basis.T, zero, basis * b @ basis.T)
    assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "m", "d"), [(400, 300, 16), (60, 50, 40), (200, 90, 64)])
def test_features_agree_with_the_dense_square_root(n: int, m: int, d: int) -> None:
    a, b = features(n, d, 1), features(m, d, 2, scale=1.5, shift=0.3)
    assert frechet_distance_from_features(a, b) == pytest.approx(dense(a, b), rel=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(20, 30, 64), (64, 64, 64), (100, 80, 48)])
def test_small_problem_equals_the_moments(n: int, m: int, d: int) -> None:
    a, b = features(n, d, 3), features(m, d, 4, shift=0.1)
    assert frechet_distance_from_features(a, b) == pytest.approx(
        frechet_distance(*moments(a), *moments(b)), rel=1e-9
    )


def test_agrees_with_clean_fid_and_torch_fidelity() -> None:
    import_torchvision()
    from cleanfid.fid import frechet_distance as clean_fid
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    a, b = features(500, 32, 5), features(400, 32, 6, scale=0.8, shift=0.2)
    (mu_a, cov_a), (mu_b, cov_b) = moments(a), moments(b)
    value = frechet_distance(mu_a, cov_a, mu_b, cov_b)
    assert value == pytest.approx(float(clean_fid(mu_a, cov_a, mu_b, cov_b)), rel=1e-6)
    other = fid_statistics_to_metric(
        {"mu": mu_a, "sigma": cov_a}, {"mu": mu_b, "sigma": cov_b}, verbose=False
    )
    assert value == pytest.approx(other["frechet_inception_distance"], rel=1e-6)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 24), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_symmetric_non_negative_and_zero_for_equal_sets(n: int, m: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    value = frechet_distance_from_features(a, b)
    assert value >= 0
    assert value == pytest.approx(frechet_distance_from_features(b, a), rel=1e-9, abs=1e-12)
    assert frechet_distance_from_features(a, a.copy()) < 1e-6


@pytest.mark.parametrize("n", [3, 10, 200])
def test_rank_deficient_sets_stay_exact(n: int) -> None:
    rng = np.random.default_rng(7)
    flat = rng.standard_normal((n, 4)) @ rng.standard_normal((4, 32))
    assert frechet_distance(*moments(flat), *moments(flat)) < 1e-6
    assert frechet_distance_from_features(flat, flat) < 1e-6
    # a shift costs its square and nothing else
    assert frechet_distance_from_features(flat, flat + 0.5) == pytest.approx(32 * 0.25, rel=1e-9)
    # a set that is one image over and over has no covariance at all
    point = np.repeat(flat[:1], n, axis=0)
    expected = ((flat.mean(0) - flat[0]) ** 2).sum() + np.trace(np.cov(flat, rowvar=False))
    assert frechet_distance_from_features(flat, point) == pytest.approx(expected, rel=1e-9)


def test_images_without_spread_are_their_distance() -> None:
    origin, point, none = np.zeros(2), np.array([3.0, 4.0]), np.zeros((2, 2))
    assert frechet_distance(origin, none, point, none) == pytest.approx(25, rel=1e-12)
    assert frechet_distance(origin, np.eye(2), point, none) == pytest.approx(25 + 2, rel=1e-12)


def test_few_images_of_many_dimensions_form_no_square_matrix() -> None:
    d = 2000
    a, b = (np.random.default_rng(seed).standard_normal((8, d)) for seed in (0, 1))
    tracemalloc.start()
    frechet_distance_from_features(a, b)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < d * d * 8 / 4


def test_tensors_are_read_as_arrays_are() -> None:
    a, b = features(30, 6, 14), features(30, 6, 15)
    tensors = [torch.from_numpy(x).requires_grad_() for x in (a, b)]
    assert frechet_distance_from_features(*tensors) == frechet_distance_from_features(a, b)


def test_order_of_images_does_not_matter() -> None:
    a, b = features(70, 20, 8), features(90, 20, 9)
    shuffled = np.random.default_rng(0).permutation(a)
    value = frechet_distance_from_features(a, b)
    assert frechet_distance_from_features(shuffled, b) == pytest.approx(value, rel=1e-10)


def test_float32_features_far_from_zero_keep_their_digits() -> None:
    a, b = features(3000, 8, 10), features(3000, 8, 11, shift=0.05)
    value = frechet_distance_from_features(a + 1000.0, b + 1000.0)
    assert value == pytest.approx(frechet_distance_from_features(a, b), rel=1e-7)


def test_no_warning_of_complex_numbers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet_distance_from_features(features(12, 64, 12), features(14, 64, 13))


def test_finite_features_whose_sum_overflows_are_finite() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_finite(np.full((3, 2), 1e308), "features")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0, 0.0], np.eye(2), [0.0], np.eye(1)), "2 dimensions and mu_b has 1"),
        (([0.0, 0.0], np.eye(3), [0.0, 0.0], np.eye(2)), r"sigma_a has shape \(3, 3\)"),
        (([0.0, np.nan], np.eye(2), [0.0, 0.0], np.eye(2)), "mu_a holds nan"),
        (([0.0, 0.0], [[1, 2], [0, 1]], [0.0, 0.0], np.eye(2)), "transpose by 2"),
        (([0.0, 0.0], np.eye(2), [0.0, 0.0], [[1, 2], [0, 1]]), "^sigma_b differs from its transpose"),
        (([0.0, 0.0], np.diag([1.0, -0.5]), [0.0, 0.0], np.eye(2)), "eigenvalue -0.5"),
        (([[0.0, 0.0]], np.eye(2), [0.0, 0.0], np.eye(2)), r"mu_a has shape \(1, 2\)"),
    ],
)
def test_bad_moments_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        frechet_distance(*arguments)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((1, 4)), np.zeros((5, 4)), "a has 1 rows"),
        (np.zeros((5, 4)), np.zeros((5, 3)), "4 dimensions and b has 3"),
        (np.zeros(5), np.zeros((5, 3)), r"a has shape \(5,\)"),
        (np.array([[0.0], [np.inf], [0.0]]), np.zeros((5, 1)), "holds inf in row 1"),
        (np.zeros((3, 2)), np.array([["x", "y"]] * 3), "dtype <U1"),
    ],
)
def test_bad_features_are_named(a: np.ndarray, b: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frechet_distance_from_features(a, b)
