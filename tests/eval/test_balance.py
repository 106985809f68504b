"""Balance and conditional accuracy from predictions."""

from __future__ import annotations

import numpy as np
import pytest

from eval.balance import balance, kl_divergence
from gan_lt.errors import InputError


def test_balanced_and_recognised() -> None:
    labels = np.repeat(np.arange(4), 25)
    found = balance(labels, labels, 4)
    assert found.kl_uniform == 0
    assert found.kl_requested == 0
    assert found.accuracy == 1
    np.testing.assert_array_equal(found.per_class_accuracy, 1)


def test_a_lost_class_raises_the_divergence() -> None:
    asked = np.repeat(np.arange(4), 25)
    seen = np.where(asked == 3, 0, asked)
    found = balance(seen, asked, 4)
    # p = (1/2, 1/4, 1/4, 0) against uniform: 1/2 log 2
    assert found.kl_uniform == pytest.approx(0.5 * np.log(2))
    assert found.per_class_accuracy.tolist() == [1, 1, 1, 0]
    assert found.predicted_share.tolist() == [0.5, 0.25, 0.25, 0]
    assert found.confusion[3].tolist() == [25, 0, 0, 0]


def test_what_was_asked_for_need_not_be_uniform() -> None:
    asked = np.repeat([0, 1], [90, 10])
    found = balance(asked, asked, 2)
    assert found.kl_requested == 0
    assert found.kl_uniform > 0.3


def test_divergence_from_what_was_asked_for() -> None:
    # p = (1/2, 1/2) against q = (1/4, 3/4)
    expected = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    assert balance([0, 0, 1, 1], [0, 1, 1, 1], 2).kl_requested == pytest.approx(expected)


def test_a_class_nobody_asked_for_is_infinitely_far() -> None:
    assert balance([0, 1], [0, 0], 2).kl_requested == np.inf
    assert np.isnan(balance([0, 1], [0, 0], 2).per_class_accuracy[1])
    assert kl_divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("seen", "asked", "message"),
    [
        ([0, 4], [0, 1], "predicted holds 4"),
        ([0], [0, 1], "1 and requested 2"),
        ([0.5], [0], "predicted has shape .* dtype float64"),
        ([0], [0.5], "requested has shape .* dtype float64"),
        (["a"], [0], "predicted has dtype"),
        ([0], ["a"], "requested has dtype"),
    ],
)
def test_bad_input_is_named(seen: list, asked: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        balance(seen, asked, 3)
