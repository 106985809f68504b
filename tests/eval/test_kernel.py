"""The kernel distance against torch-fidelity and clean-fid, and its statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eval import kernel_distance
from eval.kernel import cubic_kernel, kernel_bootstrap, multiplicities
from gan_lt.errors import InputError
from gan_lt.torchvision_compat import import_torchvision


def sets(n: int = 300, m: int = 250, d: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 1.2 + 0.1


@pytest.mark.parametrize(("size", "subsets"), [(50, 40), (250, 3), (20, 5)])
def test_agrees_with_torch_fidelity(size: int, subsets: int) -> None:
    import_torchvision()
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = sets()
    mean, std = kernel_distance(a, b, subset_size=size, subsets=subsets, seed=3)
    other = kid_features_to_metric(
        torch.from_numpy(a),
        torch.from_numpy(b),
        kid_subsets=subsets,
        kid_subset_size=size,
        rng_seed=3,
        verbose=False,
    )
    assert mean == pytest.approx(other["kernel_inception_distance_mean"], rel=1e-6)
    assert std == pytest.approx(other["kernel_inception_distance_std"], rel=1e-6)


def test_agrees_with_clean_fid_on_whole_sets() -> None:
    import_torchvision()
    from cleanfid.fid import kernel_distance as clean_kid

    a, b = sets(200, 200)
    mean, std = kernel_distance(a, b, subset_size=200, subsets=7)
    assert mean == pytest.approx(float(clean_kid(a, b, num_subsets=1, max_subset_size=200)), rel=1e-6)
    assert std == 0


def test_is_unbiased_for_equal_distributions() -> None:
    rng = np.random.default_rng(1)
    values = [
        kernel_distance(rng.standard_normal((60, 4)), rng.standard_normal((60, 4)), 60, 1)[0]
        for _ in range(200)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0, "an unbiased estimate of 0 falls on both sides"


def test_fewer_images_than_the_subset_are_said() -> None:
    a, b = sets(30, 40)
    with pytest.warns(UserWarning, match="subset_size 1000 is more than the 30"):
        kernel_distance(a, b)


def test_bootstrap_centres_on_the_estimate() -> None:
    a, b = sets(120, 100, 6)
    value, _ = kernel_distance(a, b, subset_size=100, subsets=200)
    drawn = kernel_bootstrap(a, b, 2000, np.random.default_rng(0))
    assert abs(drawn.mean() - value) < 0.25 * drawn.std()


def test_bootstrap_is_the_estimate_of_the_resample_without_pairs_of_copies() -> None:
    a, b = sets(6, 5, 3)
    w, v = (multiplicities(n, 4, rng) for rng in [np.random.default_rng(7)] for n in (6, 5))

    def resample(counts: np.ndarray) -> np.ndarray:
        return np.repeat(np.arange(len(counts)), counts.astype(int))

    def within(x: np.ndarray, drawn: np.ndarray) -> float:
        different = drawn[:, None] != drawn[None, :]
        return float(cubic_kernel(x[drawn], x[drawn])[different].mean())

    expected = [
        within(a, i) + within(b, j) - 2 * cubic_kernel(a[i], b[j]).mean()
        for i, j in zip(map(resample, w), map(resample, v), strict=True)
    ]
    np.testing.assert_allclose(kernel_bootstrap(a, b, 4, np.random.default_rng(7)), expected, rtol=1e-12)


def test_bootstrap_of_three_images_is_finite() -> None:
    a, b = sets(3, 40, 4)  # a resample in nine is three copies of one image, which has no pair
    assert np.isfinite(kernel_bootstrap(a, b, 500, np.random.default_rng(0))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset_size": 1}, "subset_size=1"),
        ({"subset_size": "a"}, "subset_size='a'"),
        ({"subset_size": None}, "subset_size=None"),
        ({"subsets": 0}, "subsets=0"),
        ({"subsets": 1.5}, "subsets=1.5"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": None}, "seed=None"),
        ({"seed": 2**32}, "seed=4294967296"),
    ],
)
def test_bad_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kernel_distance(*sets(), **options)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e200, 1e40])
def test_features_whose_kernel_overflows_are_refused(size: float) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"features reach .*cubic kernel overflows"):
        kernel_distance(size * rng.normal(size=(8, 4)), np.zeros((8, 4)), subset_size=5)


def test_bfloat16_features_are_measured_as_float32() -> None:
    a, b = (torch.from_numpy(rows).bfloat16() for rows in sets(20, 20, 4))
    assert kernel_distance(a, b, 20) == kernel_distance(a.float(), b.float(), 20)
