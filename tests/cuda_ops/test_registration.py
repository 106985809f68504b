"""The operators as torch sees them: opcheck, torch.compile, and a double backward through all of them."""

from __future__ import annotations

import math

import pytest
import torch

from cuda_ops import bias_act, downsample2d, modulated_epilogue, setup_filter, upsample2d, use_backend

OPS = torch.ops.cuda_ops


def image(device, channels_last=False, requires_grad=True, shape=(2, 3, 6, 5)):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    return x.requires_grad_(requires_grad)


SCALE = (0.2, 1.4, math.inf)  # alpha, gain, limit


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck(device, channels_last, requires_grad):
    x = image(device, channels_last, requires_grad)
    y = image(device, channels_last, requires_grad)
    b = torch.randn(3, device=device, requires_grad=requires_grad)
    demod = torch.rand(2, 3, device=device, requires_grad=requires_grad)
    noise = torch.randn(2, 1, 6, 5, device=device)
    strength = torch.ones((), device=device, requires_grad=requires_grad)
    f = setup_filter([1, 3, 3, 1]).to(device)
    samples = {
        OPS.upfirdn2d: [(x, f, 2, 1, 1, 2, 2, 1, 2, -1, False, 1.5)],
        OPS.bias_act: [(x, b, 1, 2, *SCALE), (x, None, 1, 3, *SCALE)],
        OPS.bias_act_grad: [(y, x, b, None, 1, 2, *SCALE, True), (y, x, b, None, 1, 8, *SCALE, False)],
        OPS.modulated_epilogue: [
            (x, demod, noise, strength, b, 2, *SCALE),
            (x, None, None, None, None, 3, *SCALE),
        ],
    }
    if not requires_grad:
        samples[OPS.bias_act_grad2] = [(y, x, x, b, None, 1, 3, *SCALE)]
        samples[OPS.modulated_epilogue_grad] = [(y, x, demod, noise, strength, b, 2, *SCALE)]
    for operator, arguments in samples.items():
        for sample in arguments:
            torch.library.opcheck(operator, sample)


def layer(x, f, b, demod, noise, strength):
    y = modulated_epilogue(upsample2d(x, f), demod, noise, strength, b)
    return bias_act(downsample2d(y, f), b, act="lrelu", clamp=3)


def test_torch_compile_gives_equal_results(device):
    x = image(device, channels_last=True)
    b = torch.randn(3, device=device, requires_grad=True)
    demod = torch.rand(2, 3, device=device, requires_grad=True)
    noise, strength = torch.randn(12, 10, device=device), torch.ones((), device=device, requires_grad=True)
    f = setup_filter([1, 3, 3, 1]).to(device)
    arguments = (x, f, b, demod, noise, strength)
    leaves = (x, b, demod, strength)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    eager, graph = layer(*arguments), compiled(*arguments)
    torch.testing.assert_close(graph, eager, rtol=0, atol=0)
    eager_grads = torch.autograd.grad(eager.square().sum(), leaves)
    graph_grads = torch.autograd.grad(graph.square().sum(), leaves)
    for left, right in zip(graph_grads, eager_grads, strict=True):
        torch.testing.assert_close(left, right)


def test_r1_and_path_length_agree_with_the_reference(device):
    """The two double backward passes of StyleGAN2, through several operators at once."""

    def penalties():
        x = image(device, channels_last=True)
        b = torch.linspace(-1, 1, 3, device=device).requires_grad_()
        demod = torch.linspace(0.5, 1.5, 6, device=device).reshape(2, 3).requires_grad_()
        strength = torch.tensor(0.5, device=device, requires_grad=True)
        noise = torch.linspace(-1, 1, 120, device=device).reshape(12, 10)
        f = setup_filter([1, 3, 3, 1]).to(device)
        out = layer(x, f, b, demod, noise, strength)
        (r1,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        (path,) = torch.autograd.grad((out * torch.cos(out.detach())).sum(), demod, create_graph=True)
        loss = r1.square().sum() + path.square().sum().sqrt()
        return [loss, *torch.autograd.grad(loss, (x, demod), allow_unused=True)]

    actual = penalties()
    with use_backend("reference"):
        expected = penalties()
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_more_than_two_to_the_31_elements(device):
    if device == "cpu":
        import os

        if os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") < 12 * 2**30:
            pytest.skip("needs 12 GiB of free memory")
    x = torch.zeros(1, 8, 2**14, 2**14 + 8, dtype=torch.bfloat16, device=device)
    x[0, -1, -1, -1] = 1
    assert x.numel() > 2**31
    y = bias_act(x, torch.ones(8, device=device), act="linear")
    assert y[0, -1, -1, -1].item() == 2
    assert y[0, -1, -1, -2].item() == 1
