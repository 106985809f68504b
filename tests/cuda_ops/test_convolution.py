"""conv3x3 against PyTorch in float64: values, gradients of two orders, layouts, which calls it takes on itself."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cuda_ops import conv3x3, conv3x3_down, conv3x3_up, library, ops, use_backend
from cuda_ops.convolution_autograd import native_conv3x3

pytestmark = pytest.mark.skipif(
    library.unavailable("cpu") is not None, reason=f"no native kernels here: {library.unavailable('cpu')}"
)

CHANNELS_LAST = torch.channels_last


def images(generator, *shape, channels_last=True):
    x = torch.randn(shape, generator=generator)
    return x.to(memory_format=CHANNELS_LAST) if channels_last else x


def derivatives(convolve, x, weight, seed, tangents):
    """The value, its gradients for `seed`, and the gradients of <tangents, gradients>."""
    x, weight, seed = (t.detach().clone().requires_grad_() for t in (x, weight, seed))
    y = convolve(x, weight)
    first = torch.autograd.grad(y, (x, weight), seed, create_graph=True)
    return y, *first, *torch.autograd.grad(first, (x, weight, seed), tangents)


def assert_near(actual, expected, tolerance=2e-5):
    """Errors relative to the root mean square: sums of products of unit size have errors of one size everywhere."""
    assert actual.shape == expected.shape
    if actual.numel():
        error = float((actual.double() - expected).detach().abs().max())
        assert error <= tolerance * float(expected.detach().square().mean().sqrt())


# (ours, PyTorch's, dimension of the weight that meets x's channels, the size of x to one of the 4x4 tiles')
KINDS = {
    "same": (
        lambda x, w: native_conv3x3(x, w, False, False),
        lambda x, w: F.conv2d(x, w, padding=1),
        1,
        lambda n: n,
    ),
    "transposed": (
        lambda x, w: native_conv3x3(x, w, False, True),
        lambda x, w: F.conv_transpose2d(x, w, padding=1),
        0,
        lambda n: n,
    ),
    "down": (
        lambda x, w: native_conv3x3(x, w, True, False),
        lambda x, w: F.conv2d(x, w, stride=2),
        1,
        lambda n: 2 * n + 1,
    ),
    "up": (
        lambda x, w: native_conv3x3(x, w, True, True),
        lambda x, w: F.conv_transpose2d(x, w, stride=2),
        0,
        lambda n: n,
    ),
}


@pytest.mark.parametrize("kind", list(KINDS))
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    n=st.integers(1, 3),
    height=st.integers(1, 21),
    width=st.integers(1, 21),
    channels=st.sampled_from([1, 3, 7, 8, 16, 17, 40]),
    out=st.sampled_from([1, 5, 8, 9, 16, 24, 33]),
    seed=st.integers(0, 1000),
    channels_last=st.booleans(),
)
@example(n=2, height=32, width=32, channels=128, out=128, seed=0, channels_last=True)
@example(n=40, height=4, width=4, channels=129, out=128, seed=0, channels_last=True)
@example(n=7, height=36, width=20, channels=64, out=272, seed=0, channels_last=True)
@example(n=1, height=9, width=9, channels=530, out=16, seed=0, channels_last=False)
def test_values_and_derivatives_of_two_orders(kind, n, height, width, channels, out, seed, channels_last):
    ours, theirs, dim, size = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    x = images(generator, n, channels, size(height), size(width), channels_last=channels_last)
    weight = torch.randn(*(out, channels)[:: 1 if dim else -1], 3, 3, generator=generator)
    if channels_last:
        weight = weight.to(memory_format=CHANNELS_LAST)
    dy = images(generator, *theirs(x, weight).shape, channels_last=not channels_last)
    tangents = torch.randn(x.shape, generator=generator), torch.randn(weight.shape, generator=generator)
    actual = derivatives(ours, x, weight, dy, tangents)
    expected = derivatives(
        theirs, *(t.double() for t in (x, weight, dy)), tuple(t.double() for t in tangents)
    )
    for a, e in zip(actual, expected, strict=True):
        assert_near(a, e, 5e-5)
    assert actual[0].is_contiguous(memory_format=CHANNELS_LAST)


needs_bfloat16 = pytest.mark.skipif(
    not library.load("cpu").bfloat16_convolutions,
    reason="this CPU has no instructions for products of bfloat16",
)


@needs_bfloat16
@pytest.mark.parametrize("kind", list(KINDS))
@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    n=st.integers(1, 3),
    height=st.integers(1, 21),
    width=st.integers(1, 21),
    channels=st.sampled_from([1, 3, 7, 8, 16, 17, 40]),
    out=st.sampled_from([1, 5, 8, 9, 16, 24, 33]),
    seed=st.integers(0, 1000),
    channels_last=st.booleans(),
)
@example(n=2, height=32, width=32, channels=128, out=128, seed=0, channels_last=True)
@example(n=40, height=4, width=4, channels=129, out=128, seed=0, channels_last=True)
@example(n=1, height=9, width=9, channels=530, out=16, seed=0, channels_last=False)
def test_bfloat16(kind, n, height, width, channels, out, seed, channels_last):
    ours, theirs, dim, size = KINDS[kind]
    generator = torch.Generator().manual_seed(seed)
    x = images(generator, n, channels, size(height), size(width), channels_last=channels_last).bfloat16()
    weight = torch.randn(*(out, channels)[:: 1 if dim else -1], 3, 3, generator=generator).bfloat16()
    dy = images(generator, *theirs(x, weight).shape, channels_last=not channels_last).bfloat16()
    tangents = (
        torch.randn(x.shape, generator=generator).bfloat16(),
        torch.randn(weight.shape, generator=generator).bfloat16(),
    )
    actual = derivatives(ours, x, weight, dy, tangents)
    expected = derivatives(
        theirs, *(t.double() for t in (x, weight, dy)), tuple(t.double() for t in tangents)
    )
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == torch.bfloat16
        # a few values can't tell the mean; the largest of many is six times it
        assert_near(a, e, 0.5)
        if e.numel() > 1000:
            error = (a.double() - e).detach().square().mean().sqrt() / e.detach().square().mean().sqrt()
            assert 1e-3 < float(error) < 0.025
    assert actual[0].is_contiguous(memory_format=CHANNELS_LAST)


@needs_bfloat16
def test_bfloat16_keeps_what_is_not_finite_and_rounds_to_nearest():
    x = torch.zeros(1, 16, 9, 9, dtype=torch.bfloat16).to(memory_format=CHANNELS_LAST)
    x[0, 0, 4, 4] = math.nan
    weight = torch.ones(16, 16, 3, 3, dtype=torch.bfloat16)
    assert ops.conv3x3(x, weight, False, False)[0, :, 4, 4].isnan().all()
    # one tap alone: each output is an input, but for the rounding of points
    x = torch.randn(4, 16, 16, 16, generator=torch.Generator().manual_seed(1)).bfloat16()
    weight = torch.zeros(16, 16, 3, 3, dtype=torch.bfloat16)
    weight[range(16), range(16), 1, 1] = 1
    error = ops.conv3x3(x, weight, False, False).double() - x.double()
    assert abs(float(error.mean())) < 1e-3


def test_the_transposed_operator_is_the_adjoint():
    generator = torch.Generator().manual_seed(3)
    x, weight = images(generator, 2, 24, 10, 7), torch.randn(40, 24, 3, 3, generator=generator)
    dy = images(generator, 2, 40, 10, 7)
    forward = (ops.conv3x3(x, weight, False, False).double() * dy).sum()
    assert float(forward) == pytest.approx(
        float((ops.conv3x3(dy, weight, False, True).double() * x).sum()), rel=1e-5
    )
    assert float(forward) == pytest.approx(
        float((ops.conv3x3_weight(x, dy, False).double() * weight).sum()), rel=1e-5
    )


@pytest.mark.parametrize(
    ("ours", "stride", "size"), [(conv3x3, 1, 32), (conv3x3_down, 2, 33), (conv3x3_up, -2, 16)]
)
def test_the_error_is_that_of_the_documentation(ours, stride, size):
    generator = torch.Generator().manual_seed(4)
    x, weight = images(generator, 8, 128, size, size), torch.randn(128, 128, 3, 3, generator=generator)
    double = x.double(), weight.double()
    if stride < 0:
        exact = F.conv_transpose2d(*double, stride=2)
    else:
        exact = F.conv2d(*double, stride=stride, padding=stride % 2)
    error = (ours(x, weight).double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 2e-7 < float(error) < 2e-6  # so it is Winograd's, and no worse than it should be


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)])
@pytest.mark.parametrize("shape", [(33, 16, 32, 32), (5, 40, 9, 13), (2, 129, 4, 4)])
def test_threads_change_nothing(shape, dtype):
    generator = torch.Generator().manual_seed(5)
    x, weight = images(generator, *shape), torch.randn(24, shape[1], 3, 3, generator=generator)
    dy = images(generator, shape[0], 24, *shape[2:])
    large = images(generator, *shape[:2], 2 * shape[2] + 1, 2 * shape[3] + 1)
    x, weight, dy, large = (t.to(dtype) for t in (x, weight, dy, large))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(
                [
                    ops.conv3x3(x, weight, False, False),
                    ops.conv3x3(dy, weight, False, True),
                    ops.conv3x3_weight(x, dy, False),
                    ops.conv3x3(dy, weight, True, True),
                    ops.conv3x3(large, weight, True, False),
                    ops.conv3x3_weight(large, dy, True),
                ]
            )
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for left, right in zip(results[0], other, strict=True):
            assert torch.equal(left, right)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(requires_grad):
    generator = torch.Generator().manual_seed(6)
    x = images(generator, 2, 9, 6, 5).requires_grad_(requires_grad)
    weight = torch.randn(10, 9, 3, 3, generator=generator, requires_grad=requires_grad)
    dy = images(generator, 2, 10, 6, 5).requires_grad_(requires_grad)
    torch.library.opcheck(torch.ops.cuda_ops.conv3x3, (x, weight, False, False))
    torch.library.opcheck(torch.ops.cuda_ops.conv3x3, (dy, weight, False, True))
    torch.library.opcheck(torch.ops.cuda_ops.conv3x3_weight, (x, dy, False))
    large = images(generator, 2, 9, 13, 11).requires_grad_(requires_grad)
    torch.library.opcheck(torch.ops.cuda_ops.conv3x3, (large, weight, True, False))
    torch.library.opcheck(torch.ops.cuda_ops.conv3x3, (dy, weight, True, True))
    torch.library.opcheck(torch.ops.cuda_ops.conv3x3_weight, (large, dy, True))


def pyramid(x, weight):
    return conv3x3_up(conv3x3_down(conv3x3(x, weight), weight), weight.transpose(0, 1))


def test_torch_compile_gives_equal_results():
    generator = torch.Generator().manual_seed(7)
    x = images(generator, 8, 16, 17, 17).requires_grad_()
    weight = torch.randn(16, 16, 3, 3, generator=generator).requires_grad_()
    compiled = torch.compile(pyramid, fullgraph=True, backend="aot_eager")
    for function in (lambda y: y, lambda y: torch.autograd.grad(y.square().sum(), (x, weight))):
        torch.testing.assert_close(
            function(compiled(x, weight)), function(pyramid(x, weight)), rtol=0, atol=0
        )


THEIRS = {
    conv3x3: lambda x, w: F.conv2d(x, w, padding=1),
    conv3x3_down: lambda x, w: F.conv2d(x, w, stride=2),
    conv3x3_up: lambda x, w: F.conv_transpose2d(x, w, stride=2),
}


def calls(function, x, weight):
    """Whether a function takes a call on itself."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        y = function(x, weight)
    assert_near(y, THEIRS[function](x.double(), weight.double()), 2e-5 if y.dtype.itemsize > 2 else 1e-1)
    return any(event.key == "cuda_ops::conv3x3" for event in profile.key_averages())


@pytest.mark.parametrize(("function", "size"), [(conv3x3, 8), (conv3x3_down, 17), (conv3x3_up, 8)])
def test_which_calls_go_to_the_kernels(function, size):
    generator = torch.Generator().manual_seed(8)
    x, weight = images(generator, 16, 16, size, size), torch.randn(16, 16, 3, 3, generator=generator)
    assert calls(function, x, weight)
    assert not calls(function, x.contiguous(), weight)
    assert not calls(function, x.double(), weight.double())
    assert calls(function, x.bfloat16(), weight.bfloat16()) == library.bfloat16_convolutions()
    assert not calls(function, x.half(), weight.half())
    narrow = 5 if function is conv3x3_down else 2
    assert not calls(function, x[:, :, :narrow, :narrow].contiguous(memory_format=CHANNELS_LAST), weight)
    assert not calls(function, x[:1], weight)
    assert not calls(function, x[:0], weight)
    few = torch.randn(7, 7, 3, 3, generator=generator)
    assert not calls(function, x[:, :7].contiguous(memory_format=CHANNELS_LAST), few)
    with use_backend("reference"):
        assert not calls(function, x, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert function(x, weight).dtype == torch.bfloat16


def test_even_sizes_are_left_to_pytorch():
    generator = torch.Generator().manual_seed(9)
    x, weight = images(generator, 32, 16, 18, 17), torch.randn(16, 16, 3, 3, generator=generator)
    assert not calls(conv3x3_down, x, weight)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (15, 18), (20, 13), (5, 5)])
@pytest.mark.parametrize("channels_last", [True, False])
def test_strided_with_padding(height, width, channels_last):
    generator = torch.Generator().manual_seed(9)
    x = images(generator, 40, 16, height, width, channels_last=channels_last)
    weight, bias = torch.randn(24, 16, 3, 3, generator=generator), torch.randn(24, generator=generator)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        y = conv3x3_down(x, weight, bias, padding=1)
    assert any(event.key == "cuda_ops::conv3x3" for event in profile.key_averages()) == channels_last
    exact = F.conv2d(x.double(), weight.double(), bias.double(), stride=2, padding=1)
    assert_near(y, exact)
    leaves = x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()
    dy = torch.randn(exact.shape, generator=generator)
    actual = torch.autograd.grad(conv3x3_down(*leaves, padding=1), leaves, dy)
    double = tuple(t.double() for t in leaves)
    expected = torch.autograd.grad(F.conv2d(*double, stride=2, padding=1), leaves, dy.double())
    for a, e in zip(actual, expected, strict=True):
        assert_near(a, e, 5e-5)
    with pytest.raises(ValueError, match="padding=2 must be 0 or 1"):
        conv3x3_down(x, weight, padding=2)


def test_other_shapes_are_refused():
    x, weight = torch.zeros(2, 16, 9, 9), torch.zeros(16, 16, 3, 3)
    for function, form in ((conv3x3, "O, I"), (conv3x3_down, "O, I"), (conv3x3_up, "I, O")):
        message = rf"{function.__name__} takes x \[N, I, H, W\] and weight \[{form}, 3, 3\]"
        for bad in ((x[0], weight), (x[:, :8], weight), (x, weight[..., :2]), (x, weight[0])):
            with pytest.raises(ValueError, match=message):
                function(*bad)


@pytest.mark.parametrize("function", [conv3x3, conv3x3_down])
@pytest.mark.parametrize("shape", [(1,), (8,), (16, 1)])
def test_a_bias_that_does_not_fit_is_refused(function, shape):
    x, weight = torch.zeros(32, 16, 9, 9).to(memory_format=CHANNELS_LAST), torch.zeros(16, 16, 3, 3)
    with pytest.raises(ValueError, match=rf"{function.__name__} takes a bias \[16\]"):
        function(x, weight, torch.zeros(shape))


def test_operators_called_directly_refuse_what_they_would_misread():
    x, weight = torch.zeros(2, 16, 9, 9), torch.zeros(8, 16, 3, 3)
    bad = [
        lambda: ops.conv3x3(x.double(), weight.double(), False, False),
        lambda: ops.conv3x3(x, weight.bfloat16(), False, False),
        lambda: ops.conv3x3(x[0], weight, False, False),
        lambda: ops.conv3x3(x, weight, False, True),
        lambda: ops.conv3x3(x, weight[:, :, :2], False, False),
        lambda: ops.conv3x3(x[:, :, :8], weight, True, False),
        lambda: ops.conv3x3_weight(x, x[:1], False),
        lambda: ops.conv3x3_weight(x, x, True),
        lambda: ops.conv3x3_weight(x, x.double(), False),
        lambda: ops.conv3x3_finished(x[:, :0], weight[:, :0], False, None, None, None, True),
        lambda: ops.conv3x3_finished(x, weight, False, torch.zeros(1), None, None, True),
        lambda: ops.conv3x3_finished(x, weight, False, torch.zeros(8, 1), None, None, True),
        lambda: ops.conv3x3_finished(x, weight, False, None, x, None, True),
        lambda: ops.conv3x3_finished(x, weight, False, None, None, x[:, :8, :8], True),
        lambda: ops.conv3x3_finished(x, weight, False, None, x[:, :8].double(), None, True),
    ]
    for call in bad:
        with pytest.raises(RuntimeError):
            call()


@pytest.mark.parametrize(("strided", "channels", "size"), [(False, 14_600, 4), (True, 6_480, 9)])
def test_gradients_of_more_channels_than_a_block_has_room_for(strided, channels, size):
    generator = torch.Generator().manual_seed(10)
    x, dy = images(generator, 1, channels, size, size), images(generator, 1, 8, 4, 4)
    stride = {"stride": 2} if strided else {"padding": 1}
    exact = torch.nn.grad.conv2d_weight(x.double(), (8, channels, 3, 3), dy.double(), **stride)
    assert_near(ops.conv3x3_weight(x, dy, strided), exact, 5e-5)


def test_empty_images_and_channels():
    weight = torch.randn(16, 16, 3, 3)
    assert ops.conv3x3(torch.zeros(0, 16, 4, 4), weight, False, False).shape == (0, 16, 4, 4)
    assert not ops.conv3x3_weight(torch.zeros(0, 16, 4, 4), torch.zeros(0, 8, 4, 4), False).any()
    assert not ops.conv3x3(torch.zeros(2, 0, 4, 4), weight[:, :0], False, False).any()
    assert ops.conv3x3(torch.zeros(0, 16, 9, 9), weight, True, False).shape == (0, 16, 4, 4)
    assert not ops.conv3x3(torch.zeros(2, 0, 4, 4), weight[:0], True, True).any()
    assert not ops.conv3x3_weight(torch.zeros(0, 16, 9, 9), torch.zeros(0, 8, 4, 4), True).any()
