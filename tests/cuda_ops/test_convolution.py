"""conv3x3 against PyTorch in float64: values, gradients of two orders, layouts, which calls it takes on itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cuda_ops import conv3x3, library, ops, use_backend
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
        error = float((actual.double() - expected).abs().max())
        assert error <= tolerance * float(expected.square().mean().sqrt())


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
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
@example(n=7, height=36, width=20, channels=64, out=512, seed=0, channels_last=True)
@example(n=1, height=9, width=9, channels=530, out=16, seed=0, channels_last=False)
def test_values_and_derivatives_of_two_orders(n, height, width, channels, out, seed, channels_last):
    generator = torch.Generator().manual_seed(seed)
    x = images(generator, n, channels, height, width, channels_last=channels_last)
    weight = torch.randn(out, channels, 3, 3, generator=generator)
    if channels_last:
        weight = weight.to(memory_format=CHANNELS_LAST)
    dy = images(generator, n, out, height, width, channels_last=not channels_last)
    tangents = torch.randn(x.shape, generator=generator), torch.randn(weight.shape, generator=generator)
    actual = derivatives(lambda x, w: native_conv3x3(x, w, False), x, weight, dy, tangents)
    expected = derivatives(
        lambda x, w: F.conv2d(x, w, padding=1),
        *(t.double() for t in (x, weight, dy)),
        tuple(t.double() for t in tangents),
    )
    for a, e in zip(actual, expected, strict=True):
        assert_near(a, e)
    assert actual[0].is_contiguous(memory_format=CHANNELS_LAST)


def test_the_transposed_operator_is_the_adjoint():
    generator = torch.Generator().manual_seed(3)
    x, weight = images(generator, 2, 24, 10, 7), torch.randn(40, 24, 3, 3, generator=generator)
    dy = images(generator, 2, 40, 10, 7)
    forward = (ops.conv3x3(x, weight, False).double() * dy).sum()
    assert float(forward) == pytest.approx(
        float((ops.conv3x3(dy, weight, True).double() * x).sum()), rel=1e-5
    )
    assert float(forward) == pytest.approx(
        float((ops.conv3x3_weight(x, dy).double() * weight).sum()), rel=1e-5
    )


def test_the_error_is_that_of_the_documentation():
    generator = torch.Generator().manual_seed(4)
    x, weight = images(generator, 8, 128, 32, 32), torch.randn(64, 128, 3, 3, generator=generator)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    error = (conv3x3(x, weight).double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert 2e-7 < float(error) < 1.5e-6  # so it is Winograd's, and no worse than it should be


@pytest.mark.parametrize("shape", [(33, 16, 32, 32), (5, 40, 9, 13), (2, 129, 4, 4)])
def test_threads_change_nothing(shape):
    generator = torch.Generator().manual_seed(5)
    x, weight = images(generator, *shape), torch.randn(24, shape[1], 3, 3, generator=generator)
    dy = images(generator, shape[0], 24, *shape[2:])
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(
                [ops.conv3x3(x, weight, False), ops.conv3x3(dy, weight, True), ops.conv3x3_weight(x, dy)]
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
    torch.library.opcheck(torch.ops.cuda_ops.conv3x3, (x, weight, False))
    torch.library.opcheck(torch.ops.cuda_ops.conv3x3, (dy, weight, True))
    torch.library.opcheck(torch.ops.cuda_ops.conv3x3_weight, (x, dy))


def test_torch_compile_gives_equal_results():
    generator = torch.Generator().manual_seed(7)
    x = images(generator, 4, 16, 8, 8).requires_grad_()
    weight = torch.randn(16, 16, 3, 3, generator=generator).requires_grad_()
    compiled = torch.compile(conv3x3, fullgraph=True, backend="aot_eager")
    for function in (lambda y: y, lambda y: torch.autograd.grad(y.square().sum(), (x, weight))):
        torch.testing.assert_close(
            function(compiled(x, weight)), function(conv3x3(x, weight)), rtol=0, atol=0
        )


def calls(x, weight):
    """Whether conv3x3 takes a call on itself."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        y = conv3x3(x, weight)
    assert_near(
        y, F.conv2d(x.double(), weight.double(), padding=1), 2e-2 if y.dtype == torch.bfloat16 else 2e-5
    )
    return any(event.key == "cuda_ops::conv3x3" for event in profile.key_averages())


def test_which_calls_go_to_the_kernels():
    generator = torch.Generator().manual_seed(8)
    x, weight = images(generator, 16, 16, 8, 8), torch.randn(16, 16, 3, 3, generator=generator)
    assert calls(x, weight)
    assert not calls(x.contiguous(), weight)
    assert not calls(x.double(), weight.double())
    assert not calls(x.bfloat16(), weight.bfloat16())
    assert not calls(x[:, :7].contiguous(memory_format=CHANNELS_LAST), weight[:, :7])
    assert not calls(x, weight[:7])
    assert not calls(x[:, :, :2].contiguous(memory_format=CHANNELS_LAST), weight)
    assert not calls(x[:1], weight)
    assert not calls(x[:0], weight)
    with use_backend("reference"):
        assert not calls(x, weight)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv3x3(x, weight).dtype == torch.bfloat16


def test_other_shapes_are_refused():
    x, weight = torch.zeros(2, 16, 8, 8), torch.zeros(16, 16, 3, 3)
    for bad in ((x[0], weight), (x, weight[:, :8]), (x, weight[..., :2]), (x, weight[0])):
        with pytest.raises(ValueError, match=r"conv3x3 takes x \[N, I, H, W\] and weight \[O, I, 3, 3\]"):
            conv3x3(*bad)


def test_empty_images_and_channels():
    weight = torch.randn(16, 16, 3, 3)
    assert ops.conv3x3(torch.zeros(0, 16, 4, 4), weight, False).shape == (0, 16, 4, 4)
    assert not ops.conv3x3_weight(torch.zeros(0, 16, 4, 4), torch.zeros(0, 8, 4, 4)).any()
    assert not ops.conv3x3(torch.zeros(2, 0, 4, 4), weight[:, :0], False).any()
