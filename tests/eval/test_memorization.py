"""Memorization: copies score 1, honest images about the quantile, and one duplicate hides nothing."""

from __future__ import annotations

import numpy as np
import pytest

from eval import memorization
from gan_lt.errors import InputError


def draw(n: int, seed: int, d: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("n", [2, 10, 500])
def test_copies_are_found_and_named(n: int) -> None:
    train = draw(n, 0)
    order = np.random.default_rng(1).integers(0, n, 40)
    found = memorization(train, train[order])
    assert found.share == 1
    np.testing.assert_array_equal(found.nearest, order)
    assert found.distance.max() < 1e-9


def test_a_class_with_a_single_generated_image() -> None:
    train = draw(10, 0)
    found = memorization(train, train[3:4])
    assert (found.share, found.nearest.tolist(), found.copied.tolist()) == (1, [3], [True])
    assert memorization(train, train[3:4] + 100).copied.tolist() == [False]


def test_near_copies_are_found() -> None:
    train = draw(200, 2)
    assert memorization(train, train + 0.01 * draw(200, 3)).share == 1


def test_images_of_the_same_distribution_score_about_the_quantile() -> None:
    shares = [memorization(draw(100, seed), draw(100, seed + 1000)).share for seed in range(30)]
    assert np.mean(shares) < 0.1


def test_quantile_zero_is_the_smallest_training_distance() -> None:
    train = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert memorization(train, train, closeness=0).threshold == 1
    assert memorization(train, train, closeness=1).threshold == 4


def test_repeated_training_images_do_not_hide_copies() -> None:
    train = np.vstack([draw(10, 4)] * 2)
    found = memorization(train, train[:5])
    assert found.threshold > 0
    assert found.share == 1


def test_a_negative_zero_does_not_hide_copies() -> None:
    found = memorization([[0.0, 1.0], [-0.0, 1.0], [3.0, 3.0]], [[0.0, 1.0]])
    assert found.share == 1


@pytest.mark.parametrize(
    ("train", "closeness", "message"),
    [
        (np.ones((5, 2)), 0.05, "train has 1 different images"),
        (draw(5, 0, 2), 1.5, "closeness is 1.5"),
        (draw(5, 0, 3), 0.05, "3 dimensions and fake has 2"),
    ],
)
def test_bad_input_is_named(train: np.ndarray, closeness: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        memorization(train, np.zeros((4, 2)), closeness)
