"""Derivatives of upfirdn2d and bias_act, made of the same operators.

The gradient of upfirdn2d is upfirdn2d with `up` and `down` exchanged and the filter flipped, so it has derivatives of every
order. bias_act has kernels for the first derivative and for the second of smooth activations; where a derivative of the
second is asked for as well (create_graph in a double backward), it comes from the reference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from cuda_ops import ops
from cuda_ops.activation_table import PIECEWISE_LINEAR
from cuda_ops.derivatives import bias_act_second


class Upfirdn2d(Function):
    """Arguments as of the operator; x alone gets a gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        f: Tensor,
        up_x: int,
        up_y: int,
        down_x: int,
        down_y: int,
        pad_x0: int,
        pad_x1: int,
        pad_y0: int,
        pad_y1: int,
        flip_filter: bool,
        gain: float,
    ) -> Tensor:
        y = ops.upfirdn2d(x, f, up_x, up_y, down_x, down_y, pad_x0, pad_x1, pad_y0, pad_y1, flip_filter, gain)
        fh, fw = f.shape[0], f.shape[-1]
        ctx.save_for_backward(f)
        # Output o reads u = o * down - pad0 + t; the adjoint reads the same pairs the other way round.
        ctx.adjoint = (
            down_x,
            down_y,
            up_x,
            up_y,
            fw - pad_x0 - 1,
            x.shape[3] * up_x - y.shape[3] * down_x + pad_x0 - up_x + 1,
            fh - pad_y0 - 1,
            x.shape[2] * up_y - y.shape[2] * down_y + pad_y0 - up_y + 1,
            not flip_filter,
            gain,
        )
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (f,) = ctx.saved_tensors
        call = Upfirdn2d.apply if torch.is_grad_enabled() else ops.upfirdn2d
        return call(dy, f, *ctx.adjoint), *[None] * 11  # type: ignore[no-untyped-call]


def _sum_to_bias(x: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    others = [d for d in range(x.ndim) if d != dim]
    return x.sum(others, dtype=dtype) if others else x.to(dtype)  # an empty list would mean every dimension


class BiasAct(Function):
    """bias_act; keeps the output alone where the derivative can be told from it, else the input."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, b: Tensor | None, dim: int, act: int, alpha: float, gain: float, limit: float
    ) -> Tensor:
        y = ops.bias_act(x, b, dim, act, alpha, gain, limit)
        # The output's sign is that of z, and the next layer keeps the output anyway.
        ctx.from_output = act in PIECEWISE_LINEAR and gain > 0 and alpha >= 0
        ctx.save_for_backward(y if ctx.from_output else x, b)
        ctx.dim = dim
        ctx.settings = (act, alpha, gain, limit)
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        saved, b = ctx.saved_tensors
        if ctx.from_output and not ctx.needs_input_grad[1]:
            b = None  # a frozen layer's: neither its value nor its gradient is needed
        call = BiasActGrad.apply if torch.is_grad_enabled() else ops.bias_act_grad
        dx, db = call(dy, saved, b, None, ctx.dim, *ctx.settings, ctx.from_output)  # type: ignore[no-untyped-call]
        return dx, None if b is None else db, None, None, None, None, None


class BiasActGrad(Function):
    """bias_act_grad, linear in (dy, tangent)."""

    @staticmethod
    def forward(
        ctx: Any,
        dy: Tensor,
        x: Tensor,
        b: Tensor | None,
        tangent: Tensor | None,
        dim: int,
        act: int,
        alpha: float,
        gain: float,
        limit: float,
        from_output: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        dx, db = ops.bias_act_grad(dy, x, b, tangent, dim, act, alpha, gain, limit, from_output)
        ctx.save_for_backward(dy, x, b, tangent)
        ctx.dim, ctx.from_output = dim, from_output
        ctx.settings = (act, alpha, gain, limit)
        return dx, db

    @staticmethod
    def backward(ctx: Any, ddx: Tensor | None, ddb: Tensor | None) -> Any:
        dy, x, b, tangent = ctx.saved_tensors
        d_dy = d_x = d_b = None
        if ddx is None and ddb is None:
            return (None,) * 10
        if ddx is None:
            ddx = torch.zeros_like(dy)
        if b is None:
            ddb = None
        if ctx.settings[0] in PIECEWISE_LINEAR:
            call = BiasActGrad.apply if torch.is_grad_enabled() else ops.bias_act_grad
            d_dy, d_tangent = call(ddx, x, b, ddb, ctx.dim, *ctx.settings, ctx.from_output)  # type: ignore[no-untyped-call]
        elif torch.is_grad_enabled() or tangent is not None:
            d_dy, d_x, d_b, d_tangent = bias_act_second(ctx.dim, ctx.settings, dy, x, b, tangent, ddx, ddb)
        else:
            d_dy, d_x = ops.bias_act_grad2(dy, ddx, x, b, ddb, ctx.dim, *ctx.settings)
            d_b = None if b is None else _sum_to_bias(d_x, ctx.dim, b.dtype)
            d_tangent = None
        return d_dy, d_x, d_b, d_tangent if tangent is not None else None, *[None] * 6


native_upfirdn2d = ops.differentiable("upfirdn2d", Upfirdn2d)
native_bias_act = ops.differentiable("bias_act", BiasAct)
ops.differentiable("bias_act_grad", BiasActGrad)
