"""The CPU loops' own corners: long rows, cut strips, tails, non-finite values, accuracy of exponentials."""

from __future__ import annotations

import pytest
import torch

from cuda_ops import bias_act, library, modulated_epilogue, upfirdn2d, use_backend

pytestmark = pytest.mark.skipif(
    library.unavailable("cpu") is not None, reason=f"no native kernels here: {library.unavailable('cpu')}"
)

BINOMIAL = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
FILTERS = {
    "binomial": BINOMIAL,
    "separable": torch.linspace(-1, 2, 12),
    "square": torch.arange(12.0).reshape(4, 3).sin(),
    "three": torch.tensor([0.25, 0.5, 0.25]),
}


def image(shape: tuple[int, ...], channels_last: bool, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)
    return x.to(memory_format=torch.channels_last) if channels_last else x


def both(function, *inputs):
    """A function's native result, and the reference's in float64."""
    with use_backend("native"):
        actual = function(*inputs)
    with use_backend("reference"):
        return actual, function(*(x.double() for x in inputs))


@pytest.mark.parametrize("name", list(FILTERS))
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize(
    ("shape", "channels_last"),
    [((1, 700, 13, 21), True), ((1, 3, 14, 3000), True), ((2, 1, 15, 9001), False), ((3, 5, 33, 17), False)],
)
def test_rows_longer_than_a_strip_and_rows_that_no_vector_divides(shape, channels_last, up, down, name):
    x = image(shape, channels_last)
    for padding in ([2, 1, 2, 1], [5, -3, 0, 6], [-7, 9, 3, -1]):
        actual, expected = both(lambda v, p=padding: upfirdn2d(v, FILTERS[name], up, down, p), x)
        torch.testing.assert_close(
            actual.double(), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max())
        )


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
def test_sixteen_bits_are_rounded_once(up, down, dtype, channels_last):
    x = image((2, 9, 13, 37), channels_last, dtype)
    actual, expected = both(lambda v: upfirdn2d(v, BINOMIAL, up, down, 2), x)
    # Half a unit in the last place, and a little for sums in float32.
    torch.testing.assert_close(actual.double(), expected, rtol=torch.finfo(dtype).eps * 0.502, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("taps", [3, 4])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (2, 3)])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_what_is_not_finite_reaches_as_far_as_in_the_reference(channels, up, down, taps, value):
    x = image((1, channels, 12, 19), channels > 1)
    for row, column in ((0, 0), (5, 7), (11, 18)):
        x[0, -1, row, column] = value
        f = torch.ones(taps) / taps
        actual, expected = both(lambda v, f=f: upfirdn2d(v, f, up, down, 2), x)
        torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5, equal_nan=True)
        x[0, -1, row, column] = 0


def test_empty_images_with_padding():
    for shape in ((0, 3, 4, 4), (2, 0, 4, 4)):
        with use_backend("native"):
            y = upfirdn2d(torch.zeros(shape), BINOMIAL, up=2, padding=2)
        assert y.shape == (*shape[:2], 9, 9)


@pytest.mark.parametrize("act", ["tanh", "sigmoid", "elu", "selu", "softplus", "swish"])
def test_activations_and_slopes_are_right_to_a_few_units_in_the_last_place(act):
    magnitudes = torch.logspace(-30, 1.9, 4001, dtype=torch.float64).float()
    x = torch.cat([magnitudes, -magnitudes, torch.linspace(-12, 12, 4001)])

    def value_and_slope(v):
        leaf = v.clone().requires_grad_()
        y = bias_act(leaf, act=act, gain=1.0)
        return torch.stack([y, torch.autograd.grad(y.sum(), leaf)[0]]).detach()

    actual, expected = both(value_and_slope, x)
    # Slopes are differences of values near 1, so theirs is an absolute error.
    error = (actual[0].double() - expected[0]).abs()
    assert float((error - 4e-7 * expected[0].abs()).max()) <= 1e-37
    assert float((actual[1].double() - expected[1]).abs().max()) <= 1e-6
    if act == "tanh":
        assert float(actual[0].abs().max()) == 1


@pytest.mark.parametrize("act", ["lrelu", "swish"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("clamp", [None, 0.9])
@pytest.mark.parametrize(
    ("shape", "channels_last", "noisy"),
    [
        ((2, 2500, 3, 3), True, True),
        ((2, 2500, 3, 3), True, False),
        ((2, 3, 113, 117), True, False),
        ((1, 2, 61, 77), False, True),
    ],
)
def test_epilogue_gradients_where_rows_are_long_or_cut_short(shape, channels_last, noisy, clamp, dtype, act):
    generator = torch.Generator().manual_seed(1)
    n, c, h, w = shape
    x = image(shape, channels_last, dtype)
    demod = torch.rand(n, c, generator=generator) + 0.5
    noise = torch.randn(n, 1, h, w, generator=generator) if noisy else None
    strength, bias = torch.tensor(0.7), torch.randn(c, generator=generator)
    dy = image((n, c, h, w), channels_last, dtype)

    def gradients(v, *parameters):
        leaves = [t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (v, *parameters)]
        d, s, b = leaves[1:]
        there = None if noise is None else noise.to(d.dtype)
        y = modulated_epilogue(leaves[0], d, there, s if noisy else None, b, act, clamp=clamp)
        return torch.autograd.grad(y, leaves, dy.to(y.dtype), allow_unused=True)

    for actual, expected in zip(*both(gradients, x, demod, strength, bias), strict=True):
        if expected is None:
            continue
        tolerance = 1e-2 if actual.dtype == torch.bfloat16 else 2e-5
        # Among so many values some lie where float32 and float64 differ about the clamp or the kink.
        error = (actual.double() - expected).abs()
        allowed = tolerance * float(expected.abs().max())
        assert bool(torch.isfinite(actual).all())
        wrong = int((~(error <= allowed)).sum())
        assert wrong <= (actual.numel() // 10_000 + 1 if clamp is not None or act == "lrelu" else 0)
