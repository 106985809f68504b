"""Derivatives of 3x3 convolutions, made of the same two operators: closed under differentiation, so any order is right.

Both are bilinear. A convolution's adjoint is the transposed one, with either stride.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from cuda_ops import ops


class Conv3x3(Function):
    """The operator conv3x3, bilinear in x and weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, strided: bool, transposed: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.strided, ctx.transposed = strided, transposed
        return ops.conv3x3(x, weight, strided, transposed)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        again = torch.is_grad_enabled()
        d_x = d_weight = None
        if ctx.needs_input_grad[0]:
            convolve = Conv3x3.apply if again else ops.conv3x3
            d_x = convolve(dy, weight, ctx.strided, not ctx.transposed)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            correlate = Conv3x3Weight.apply if again else ops.conv3x3_weight
            pair = (dy, x) if ctx.transposed else (x, dy)
            d_weight = correlate(*pair, ctx.strided)  # type: ignore[no-untyped-call]
        return d_x, d_weight, None, None


class Conv3x3Weight(Function):
    """The operator conv3x3_weight, bilinear in x and dy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dy: Tensor, strided: bool) -> Tensor:
        ctx.save_for_backward(x, dy)
        ctx.strided = strided
        return ops.conv3x3_weight(x, dy, strided)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, d_weight: Tensor) -> Any:
        x, dy = ctx.saved_tensors
        convolve = Conv3x3.apply if torch.is_grad_enabled() else ops.conv3x3
        return (
            convolve(dy, d_weight, ctx.strided, True) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            convolve(x, d_weight, ctx.strided, False) if ctx.needs_input_grad[1] else None,  # type: ignore[no-untyped-call]
            None,
        )


native_conv3x3 = ops.differentiable("conv3x3", Conv3x3)
ops.differentiable("conv3x3_weight", Conv3x3Weight)
