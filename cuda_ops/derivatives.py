"""Double backward passes by differentiating the reference: differentiable themselves, so any order is right.

The kernels stop at second derivatives (of bias_act) and at ones that are not recorded; past that, these serve.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cuda_ops.activation_table import ACTIVATION_NAMES
from cuda_ops.reference import bias_act_reference, modulated_epilogue_reference

Settings = tuple[int, float, float, float]
"""act, alpha, gain, limit."""

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, None, Tensor | None, Tensor | None]


def _reference_arguments(settings: Settings) -> tuple[str, float, float, float | None]:
    act, alpha, gain, limit = settings
    return ACTIVATION_NAMES[act], alpha, gain, None if limit == float("inf") else limit


def bias_act_second(
    dim: int,
    settings: Settings,
    dy: Tensor,
    x: Tensor,
    b: Tensor | None,
    tangent: Tensor | None,
    ddx: Tensor,
    ddb: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """The double backward by differentiating the reference, itself differentiable."""
    with torch.enable_grad():
        inputs = [
            t if t is None or t.requires_grad else t.detach().requires_grad_() for t in (dy, x, b, tangent)
        ]
        dy_in, x_in, b_in, tangent_in = inputs
        assert dy_in is not None  # noqa: S101  for the type checker
        assert x_in is not None  # noqa: S101
        shape = [-1 if d == dim else 1 for d in range(x.ndim)]
        seed = dy_in if tangent_in is None else dy_in + tangent_in.to(dy.dtype).reshape(shape)
        y = bias_act_reference(x_in, b_in, dim, *_reference_arguments(settings))
        wanted = [t for t in (x_in, b_in) if t is not None]
        first = torch.autograd.grad(y, wanted, seed, create_graph=True)
        seeds = [ddx] if b is None else [ddx, torch.zeros_like(b) if ddb is None else ddb.to(b.dtype)]
        present = [t for t in inputs if t is not None]
        grads = iter(torch.autograd.grad(first, present, seeds, create_graph=True, allow_unused=True))
        return tuple(None if t is None else next(grads) for t in inputs)


def epilogue_second(
    settings: Settings, saved: tuple[Tensor, ...], tangents: tuple[Tensor | None, ...]
) -> Gradients:
    """The same by differentiating the reference, itself differentiable."""
    with torch.enable_grad():
        inputs = [t if t is None or t.requires_grad else t.detach().requires_grad_() for t in saved]
        dy, x, demod, noise, strength, bias = inputs
        y = modulated_epilogue_reference(x, demod, noise, strength, bias, *_reference_arguments(settings))  # type: ignore[arg-type]
        pairs = [
            (p, torch.zeros_like(p) if v is None else v.to(p.dtype).reshape(p.shape))
            for p, v in zip((x, demod, None if noise is None else strength, bias), tangents, strict=True)
            if p is not None
        ]
        first = torch.autograd.grad(y, [p for p, _ in pairs], dy, create_graph=True)
        wanted = [t for t in (dy, x, demod, strength, bias) if t is not None]
        grads = iter(
            torch.autograd.grad(first, wanted, [v for _, v in pairs], create_graph=True, allow_unused=True)
        )
        d_dy, d_x, d_demod, d_strength, d_bias = (
            None if t is None else next(grads) for t in (dy, x, demod, strength, bias)
        )
        return d_dy, d_x, d_demod, None, d_strength, d_bias
