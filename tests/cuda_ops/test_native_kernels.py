"""Native kernels against the float64 reference: values, first and second derivatives, over random arguments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuda_ops import bias_act, modulated_epilogue, upfirdn2d, use_backend
from cuda_ops.activation_table import ACTIVATIONS

# Relative to the largest value: rounding of the type, and for derivatives of sums of it.
TOLERANCE = {
    torch.float64: (1e-12, 1e-11),
    torch.float32: (3e-6, 5e-5),
    torch.bfloat16: (8e-3, 5e-2),
    torch.float16: (1e-3, 1e-2),
}
DTYPES = list(TOLERANCE)
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def assert_near(actual, expected, tolerance, what):
    if expected is None:
        expected = torch.zeros_like(actual) if actual is not None else torch.zeros(())
    if actual is None:
        actual = torch.zeros_like(expected)
    assert actual.shape == expected.shape, what
    if actual.numel() == 0:
        return
    error = float((actual.detach().cpu().double() - expected.detach().double()).abs().max())
    assert error <= tolerance * (float(expected.detach().abs().max()) + 1e-2), (what, error)


def derivatives(function, inputs, seed, tangents):
    """The value, its gradient for `seed`, and the gradient of <tangents, gradient>."""
    inputs = [x.detach().clone(memory_format=torch.preserve_format).requires_grad_() for x in inputs]
    value = function(*inputs)
    seed = seed.to(value).requires_grad_()
    first = torch.autograd.grad(value, inputs, seed, create_graph=True)
    tangents = [v.to(g) for v, g in zip(tangents, first, strict=True)]
    second = torch.autograd.grad(first, [*inputs, seed], tangents, allow_unused=True)
    return [value], first, second


def compare(function, inputs, dtype, device, generator):
    """Compare a function's value and derivatives on a device with the reference's in float64."""
    reference_inputs = [x.double() for x in inputs]
    with use_backend("reference"):
        shape = function(*reference_inputs).shape
    seed = torch.randn(shape, generator=generator).to(dtype).double()
    tangents = [torch.randn(x.shape, generator=generator).to(x.dtype).double() for x in inputs]
    with use_backend("reference"):
        expected = derivatives(function, reference_inputs, seed, tangents)
    actual = derivatives(function, [x.to(device) for x in inputs], seed, tangents)
    value, derivative = TOLERANCE[dtype]
    for order, (a, e) in enumerate(zip(actual, expected, strict=True)):
        for i, (left, right) in enumerate(zip(a, e, strict=True)):
            assert_near(left, right, value if order == 0 else derivative, (order, i))
    return actual


def draw_image(draw, dtype, generator, channels=(1, 2, 3, 8, 13, 40)):
    n, c = draw(st.integers(0, 3)), draw(st.sampled_from(channels))
    h, w = draw(st.integers(1, 19)), draw(st.integers(1, 19))
    x = (torch.randn(n, c, h, w, generator=generator) * 2).to(dtype)
    return x.to(memory_format=torch.channels_last) if draw(st.booleans()) else x


@EXAMPLES
@given(data=st.data())
def test_upfirdn2d(device, data):
    draw = data.draw
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from(DTYPES))
    x = draw_image(draw, dtype, generator)
    factor = st.sampled_from([1, 1, 2, 2, 3])
    up, down = (draw(factor), draw(factor)), (draw(factor), draw(factor))
    padding = [draw(st.integers(-3, 6)) for _ in range(4)]
    taps = draw(st.sampled_from(["none", "binomial", "square", "separable"]))
    f = {
        "none": None,
        "binomial": torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64,
        "square": torch.randn(draw(st.integers(1, 6)), draw(st.integers(1, 6)), generator=generator),
        "separable": torch.randn(draw(st.sampled_from([1, 2, 3, 4, 7, 12])), generator=generator),
    }[taps]
    fh, fw = (1, 1) if f is None else (f.shape[0], f.shape[-1])
    for axis, size in ((0, x.shape[3]), (1, x.shape[2])):
        before, after = padding[2 * axis : 2 * axis + 2]
        # The crops leave something, and the filter fits.
        while (
            size * up[axis] + min(before, 0) + min(after, 0) < 1
            or size * up[axis] + before + after < (fw, fh)[axis]
        ):
            before, after = max(before, 0), max(after, 0) + 1
        padding[2 * axis : 2 * axis + 2] = [before, after]
    flip, gain = draw(st.booleans()), draw(st.sampled_from([1.0, 4.0, -0.3]))

    def function(image):
        return upfirdn2d(image, None if f is None else f.to(image.device), up, down, padding, flip, gain)

    (value,), _, _ = compare(function, [x], dtype, device, generator)
    assert value.dtype == dtype
    if x.numel() and not x.is_contiguous():
        assert value.is_contiguous(memory_format=torch.channels_last)


@EXAMPLES
@given(data=st.data())
def test_bias_act(device, data):
    draw = data.draw
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from(DTYPES))
    kind = draw(st.sampled_from(["image", "image", "rows", "long", "wide", "last"]))
    if kind == "image":
        x, dim = draw_image(draw, dtype, generator), 1
    else:
        shape, dim = {
            "rows": ((5, 7), 1),
            "long": ((2, 2, 6000), 1),
            "wide": ((9, 5000), 1),
            "last": ((2, 3, 4, 5), 3),
        }[kind]
        x = (torch.randn(shape, generator=generator) * 2).to(dtype)
    act = draw(st.sampled_from(list(ACTIVATIONS)))
    b = torch.randn(x.shape[dim], generator=generator).to(dtype) if draw(st.booleans()) else None
    alpha, gain = draw(st.sampled_from([None, 0.3, -0.2])), draw(st.sampled_from([None, 0.7, -1.1]))
    # In 16 bits an output may round onto the limit, where the derivative is either's to choose.
    clamp = draw(st.sampled_from([None, 1.0])) if dtype in (torch.float32, torch.float64) else None

    def function(image, bias=None):
        return bias_act(image, bias, dim, act, alpha, gain, clamp)

    (value,), _, _ = compare(function, [x] if b is None else [x, b], dtype, device, generator)
    assert value.dtype == dtype
    assert value.stride() == x.stride() or value.numel() == 0 or x.is_contiguous() or dim != 1


@EXAMPLES
@given(data=st.data())
def test_modulated_epilogue(device, data):
    draw = data.draw
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    dtype = draw(st.sampled_from(DTYPES))
    x = draw_image(draw, dtype, generator, channels=(1, 3, 16, 130, 300))
    n, c, h, w = x.shape
    parameter = draw(st.sampled_from([dtype, torch.float64 if dtype == torch.float64 else torch.float32]))
    present = {name: draw(st.booleans()) for name in ("demod", "noise", "bias")}
    noise_shape = draw(st.sampled_from([(n, 1, h, w), (1, 1, h, w), (h, w)]))
    noise = torch.randn(noise_shape, generator=generator).to(parameter)
    inputs = {
        "x": x,
        "demod": (torch.rand(n, c, generator=generator) + 0.5).to(parameter),
        "strength": torch.randn((), generator=generator).to(parameter),
        "bias": torch.randn(c, generator=generator).to(parameter),
    }
    names = [k for k in inputs if k == "x" or present.get("noise" if k == "strength" else k)]
    act = draw(st.sampled_from(["lrelu", "lrelu", *ACTIVATIONS]))
    clamp = draw(st.sampled_from([None, 1.0])) if dtype in (torch.float32, torch.float64) else None

    def function(*tensors):
        named = dict(zip(names, tensors, strict=True))
        image = named.pop("x")
        there = (
            noise.to(image.device, torch.promote_types(noise.dtype, image.dtype))
            if present["noise"]
            else None
        )
        return modulated_epilogue(image, noise=there, act=act, clamp=clamp, **named)

    (value,), _, _ = compare(function, [inputs[k] for k in names], dtype, device, generator)
    assert value.dtype == dtype
    assert value.stride() == x.stride() or value.numel() == 0 or x.is_contiguous()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("act", ["lrelu", "tanh", "swish", "softplus"])
def test_gradcheck_and_gradgradcheck(device, act, channels_last):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=generator).to(device)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    x.requires_grad_()

    def make(*shape):
        values = torch.randn(*shape, dtype=torch.float64, generator=generator)
        return values.to(device).requires_grad_()

    b, demod, strength = make(3), make(2, 3), make(1)
    noise = torch.randn(2, 1, 4, 4, dtype=torch.float64, generator=generator).to(device)
    f = torch.randn(3, 4, generator=generator).to(device)
    calls = [
        (lambda x_: upfirdn2d(x_, f, up=2, down=(1, 2), padding=2), (x,)),
        (lambda x_, b_: bias_act(x_, b_, act=act), (x, b)),
        (lambda x_, d_, s_, b_: modulated_epilogue(x_, d_, noise, s_, b_, act=act), (x, demod, strength, b)),
    ]
    for function, inputs in calls:
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("act", ["tanh", "swish"])
def test_third_derivatives_are_right_too(device, act):
    x = torch.linspace(-2, 2, 12, dtype=torch.float64, device=device).reshape(1, 3, 2, 2).requires_grad_()

    def third(y):
        for _ in range(3):
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y

    b = torch.zeros(3, dtype=torch.float64, device=device)
    demod = torch.ones(1, 3, dtype=torch.float64, device=device)
    with use_backend("reference"):
        expected = third(bias_act(x, b, act=act))
    torch.testing.assert_close(third(bias_act(x, b, act=act)), expected)
    torch.testing.assert_close(third(modulated_epilogue(x, demod, bias=b, act=act)), expected)


def test_results_do_not_depend_on_the_number_of_threads():
    x = torch.randn(8, 48, 33, 31, generator=torch.Generator().manual_seed(0))
    b, demod = torch.randn(48), torch.rand(8, 48)
    f = torch.tensor([1.0, 3, 3, 1])

    def all_results():
        results = []
        for image in (x, x.to(memory_format=torch.channels_last)):
            leaf, bias, d = (
                image.clone().requires_grad_(),
                b.clone().requires_grad_(),
                demod.clone().requires_grad_(),
            )
            y = modulated_epilogue(upfirdn2d(bias_act(leaf, bias), f, padding=2), d)
            results += [y, *torch.autograd.grad(y.square().sum(), (leaf, bias, d))]
        return results

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = all_results()
        torch.set_num_threads(3)
        three = all_results()
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, c) for a, c in zip(one, three, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e30, -1e30, 1e-30])
@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_special_values_come_out_as_in_the_reference(device, act, value):
    x = torch.full((1, 2, 2, 9), value)
    with use_backend("reference"):
        expected = [bias_act(x, act=act), bias_act(x, act=act, clamp=2.0)]
    actual = [bias_act(x.to(device), act=act).cpu(), bias_act(x.to(device), act=act, clamp=2.0).cpu()]
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, equal_nan=True, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e30, -1e30, 1e-30])
@pytest.mark.parametrize("act", ["tanh", "sigmoid", "elu", "selu", "softplus", "swish"])
def test_derivatives_at_special_values_are_those_of_the_reference(device, act, value):
    def derivatives(where):
        x = torch.full((1, 2, 2, 9), value, device=where, requires_grad=True)
        (first,) = torch.autograd.grad(bias_act(x, act=act).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        return first.detach().cpu(), second.cpu()

    with use_backend("reference"):
        expected = derivatives("cpu")
    for a, e in zip(derivatives(device), expected, strict=True):
        # of torch's elu, 1 comes out for the last few NaN: those that fill no vector
        torch.testing.assert_close(a, e[:1, :1, :1, :1].expand_as(a), equal_nan=True, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "dtype", "up"),
    [
        ((3, 24, 181, 163), torch.float32, 1),  # rows in one piece, their ends at no cache line's
        ((1, 3, 801, 901), torch.float32, 1),  # few channels
        ((1, 10, 5, 43_000), torch.float32, 1),  # rows in strips
        ((2, 33, 129, 125), torch.float64, 1),
        ((2, 67, 255, 131), torch.bfloat16, 1),
        ((2, 17, 129, 125), torch.float32, 2),
        # channels that fill whole vectors of 16 or 8 go past the caches straight from the sums
        ((2, 32, 259, 251), torch.float32, 1),
        ((2, 16, 129, 257), torch.float32, 2),
        ((2, 16, 203, 257), torch.bfloat16, 2),
        ((1, 48, 3, 30_001), torch.bfloat16, 1),  # in strips
    ],
)
def test_outputs_that_pass_the_caches_by(device, shape, dtype, up):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
    f = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    with use_backend("reference"):
        expected = upfirdn2d(x.double(), f, up=up, padding=(2, 1, 1, 2))
    actual = upfirdn2d(x.to(device), f, up=up, padding=(2, 1, 1, 2))
    assert actual.nbytes >= 8 << 20
    assert_near(actual, expected, TOLERANCE[dtype][0], (shape, up))
