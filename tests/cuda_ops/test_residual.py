"""residual_block against PyTorch in float64: values, gradients of two orders, which calls the kernels finish."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cuda_ops import library, ops, residual_block, use_backend

pytestmark = pytest.mark.skipif(
    library.unavailable("cpu") is not None, reason=f"no native kernels here: {library.unavailable('cpu')}"
)

CHANNELS_LAST = torch.channels_last


def block_of(channels, *shape, channels_last=True):
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(shape[0], channels, *shape[1:], generator=generator)
    weights = torch.randn(2, channels, channels, 3, 3, generator=generator) / (3 * channels**0.5)
    biases = torch.randn(2, channels, generator=generator) / 4
    if channels_last:
        x = x.to(memory_format=CHANNELS_LAST)
    return x, weights[0], biases[0], weights[1], biases[1]


def one_by_one(x, weight1, bias1, weight2, bias2):
    y = F.relu(F.conv2d(x, weight1, bias1, padding=1))
    return F.relu(F.conv2d(y, weight2, bias2, padding=1) + x)


def kernels_called(function):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function()
    return {e.key: e.count for e in profile.key_averages() if e.key.startswith("cuda_ops::")}


def near(actual, expected, tolerance=1e-3):
    """In the mean. The inputs are such that no value lies within 5e-6 of 0, where rounding may take it past a ReLU."""
    assert actual.shape == expected.shape
    assert float((actual - expected).detach().norm()) <= tolerance * float(expected.detach().norm())


SHAPES = [(16, 8, 32, 32), (21, 5, 13, 9), (8, 3, 8, 10), (40, 12, 4, 4), (64, 32, 8, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("channels_last", [True, False])
def test_values_and_derivatives(shape, channels_last):
    x, *parameters = block_of(*shape, channels_last=channels_last)
    x.requires_grad_()
    generator = torch.Generator().manual_seed(1)
    tangent, dy = (torch.randn(x.shape, generator=generator) for _ in range(2))
    dy.requires_grad_()
    called = kernels_called(lambda: residual_block(x, *parameters))
    assert called.get("cuda_ops::conv3x3_finished", 0) == (2 if channels_last else 0)
    found = []
    for function, dtype in ((residual_block, torch.float32), (one_by_one, torch.float64)):
        y = function(x.to(dtype), *(p.to(dtype) for p in parameters))
        (plain,) = torch.autograd.grad(y, x, dy.to(dtype), retain_graph=True)
        (dx,) = torch.autograd.grad(y, x, dy.to(dtype), create_graph=True)
        (second,) = torch.autograd.grad(dx, dy, tangent.to(dx.dtype))
        found.append((y, plain, dx, second))
    for actual, expected in zip(*found, strict=True):
        near(actual, expected)
    torch.testing.assert_close(found[0][1], found[0][2], rtol=1e-4, atol=1e-4)  # with and without a graph


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_penalty_on_the_gradient_can_go_backward(channels_last):
    x, *parameters = block_of(16, 8, 8, 8, channels_last=channels_last)
    (dx,) = torch.autograd.grad(residual_block(x.requires_grad_(), *parameters).sum(), x, create_graph=True)
    dx.square().sum().backward()  # 0 for x: a ReLU has no second derivative
    assert x.grad is None or not x.grad.any()


def test_parameters_that_could_learn_do_not_matter_without_a_graph():
    arguments = [a.requires_grad_() for a in block_of(16, 8, 8, 8)]
    with torch.no_grad():
        assert kernels_called(lambda: residual_block(*arguments)) == {"cuda_ops::conv3x3_finished": 2}


def test_a_bias_elsewhere_is_named():
    x, weight, bias, *others = block_of(16, 8, 8, 8)
    with pytest.raises(ValueError, match="b is on meta"):
        residual_block(x, weight, bias.to("meta"), *others)


def test_gradients_are_those_of_the_same_values():
    # on one side of every ReLU, so that nothing falls on another side: exact to rounding
    x, weight1, bias1, weight2, bias2 = block_of(16, 8, 16, 16)
    x.requires_grad_()
    for shift in (20.0, -20.0):
        parameters = weight1, bias1 + shift, weight2, bias2 + abs(shift) + 100
        dy = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
        (actual,) = torch.autograd.grad(residual_block(x, *parameters), x, dy)
        double = x.double(), *(p.double() for p in parameters)
        (expected,) = torch.autograd.grad(one_by_one(*double), x, dy.double())
        near(actual, expected, 5e-6)


@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_parameters_that_learn_get_their_gradients(index):
    arguments = list(block_of(16, 8, 8, 8))
    arguments[index].requires_grad_()
    assert "cuda_ops::conv3x3_finished" not in kernels_called(lambda: residual_block(*arguments))
    (actual,) = torch.autograd.grad(residual_block(*arguments).sum(), arguments[index])
    double = [a.detach().double() for a in arguments]
    double[index].requires_grad_()
    (expected,) = torch.autograd.grad(one_by_one(*double).sum(), double[index])
    near(actual, expected)


def test_other_dtypes_and_the_reference():
    arguments = block_of(16, 8, 8, 8)
    double = [a.double() for a in arguments]
    near(residual_block(*double), one_by_one(*double), 1e-12)
    with use_backend("reference"):
        assert not kernels_called(lambda: residual_block(*arguments))
        near(residual_block(*arguments), one_by_one(*double), 1e-6)


def test_values_that_are_not_finite_stay_so():
    x, *parameters = block_of(16, 8, 8, 8)
    x[0, 3, 2, 2] = float("nan")
    y = residual_block(x, *parameters)
    assert torch.isnan(y[0, 3, 2, 2])
    assert torch.isfinite(y[1:]).all()


def test_threads_change_nothing():
    x, *parameters = block_of(24, 9, 12, 20)
    x.requires_grad_()
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            y = residual_block(x, *parameters)
            results.append((y, *torch.autograd.grad(y.sum(), x)))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_opcheck():
    x, weight, bias, *_ = block_of(9, 2, 6, 5)
    generator = torch.Generator().manual_seed(3)
    narrow = torch.randn(10, 9, 3, 3, generator=generator)
    like, mask = torch.randn(2, 2, 10, 6, 5, generator=generator)
    check = torch.library.opcheck
    operator = torch.ops.cuda_ops.conv3x3_finished
    check(operator, (x, weight, False, bias, x, None, True))
    check(operator, (x, narrow, False, None, like, mask, False))
    check(operator, (like, narrow, True, None, None, x, True))


def test_torch_compile_gives_equal_results():
    x, *parameters = block_of(16, 8, 8, 8)
    x.requires_grad_()
    compiled = torch.compile(residual_block, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        near(compiled(x, *parameters), residual_block(x, *parameters), 1e-6)
    gradients = [
        torch.autograd.grad(f(x, *parameters).square().sum(), x)[0] for f in (compiled, residual_block)
    ]
    near(*gradients)


def test_other_shapes_are_refused():
    x, weight, bias, _, _ = block_of(16, 8, 8, 8)
    for bad in (
        (x[0], weight, bias, weight, bias),
        (x[:, :8], weight, bias, weight, bias),
        (x, weight[:8], bias, weight, bias),
        (x, weight, bias, weight[..., :1], bias),
        (x, weight, bias, weight, bias[:3]),
    ):
        with pytest.raises(ValueError, match=r"residual_block takes x \[N, C, H, W\]"):
            residual_block(*bad)


def test_empty_batches():
    x, *parameters = block_of(16, 8, 8, 8)
    assert residual_block(x[:0], *parameters).shape == (0, 16, 8, 8)
    assert ops.conv3x3_finished(x[:0], parameters[0], False, None, None, None, True).shape == (0, 16, 8, 8)
