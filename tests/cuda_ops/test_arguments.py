"""Arguments that are no numbers, or no tensors, get a ValueError that shows them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cuda_ops import bias_act, downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d

X = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8)
F = setup_filter([1, 3, 3, 1])


@pytest.mark.parametrize("value", [1.5, None, "2", (1.5, 1), True, (True, True), [1, 2, 3]])
@pytest.mark.parametrize("name", ["up", "down"])
def test_a_factor_that_is_no_integer_is_named(name: str, value: Any) -> None:
    calls: list[Callable[[], torch.Tensor]] = [lambda: upfirdn2d(X, F, **{name: value})]
    calls.append(lambda: (upsample2d if name == "up" else downsample2d)(X, F, value))
    for call in calls:
        with pytest.raises(ValueError) as error:
            call()
        assert f"{name}={value!r}" in str(error.value)


@pytest.mark.parametrize("value", [1.5, None, "a", (0.5, 1), (1,), (1, 2, 3), {"x": 1}])
@pytest.mark.parametrize("function", [upfirdn2d, upsample2d, downsample2d, filter2d])
def test_a_padding_that_is_no_integer_is_named(function: Callable[..., torch.Tensor], value: Any) -> None:
    with pytest.raises(ValueError) as error:
        function(X, F, padding=value)
    assert f"padding={value!r}" in str(error.value)


def test_numpy_integers_are_integers() -> None:
    expected = upfirdn2d(X, F, up=2, down=(1, 2), padding=3)
    one, two, three = np.int64(1), np.int32(2), np.int64(3)
    assert torch.equal(upfirdn2d(X, F, up=two, down=(one, two), padding=three), expected)
    assert torch.equal(upfirdn2d(X, F, up=[two, two], down=[1, two], padding=[three] * 4), expected)


@pytest.mark.parametrize("function", [upfirdn2d, upsample2d, downsample2d, filter2d])
@pytest.mark.parametrize("gain", ["x", "2", None, float("nan"), float("inf"), 1j])
def test_a_gain_that_is_no_finite_number_is_named(function: Callable[..., torch.Tensor], gain: Any) -> None:
    for call in (lambda: function(X, F, gain=gain), lambda: setup_filter([1, 2], gain=gain)):
        with pytest.raises(ValueError) as error:
            call()
        assert str(gain) in str(error.value)


@pytest.mark.parametrize("taps", ["abc", {}, 1j, [1j, 2], [[1, 2], [3]], torch.tensor([1j])])
def test_taps_that_are_no_numbers_are_named(taps: Any) -> None:
    with pytest.raises(ValueError) as error:
        setup_filter(taps)
    assert repr(taps) in str(error.value)


def test_no_taps_are_the_filter_that_changes_nothing() -> None:
    assert torch.equal(upfirdn2d(X, setup_filter(None)), X)


def test_a_complex_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="complex64"):
        upfirdn2d(X, torch.ones(2, dtype=torch.complex64))


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"act": ["relu"]}, "relu"),
        ({"act": None}, "None"),
        ({"clamp": "1"}, "'1'"),
        ({"gain": "a"}, "'a'"),
        ({"act": "lrelu", "alpha": "q"}, "'q'"),
        ({"b": np.zeros(3)}, "ndarray"),
        ({"b": [0, 0, 0]}, "list"),
        ({"b": torch.zeros(3), "dim": 1.5}, "1.5"),
        ({"b": torch.zeros(3), "dim": True}, "True"),
        ({"b": torch.zeros(3, device="meta")}, "meta"),
    ],
)
def test_bias_act_names_what_is_no_argument_of_it(arguments: dict[str, Any], shown: str) -> None:
    with pytest.raises(ValueError) as error:
        bias_act(X, **arguments)
    assert shown in str(error.value)
