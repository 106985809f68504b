"""Derivatives of 3x3 convolutions, made of the same operators: they are closed under differentiation, so any order is right.

All of them are bilinear. With stride 1 a convolution's adjoint is one again, with stride 2 it is the other of the pair.
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
    def forward(ctx: Any, x: Tensor, weight: Tensor, transposed: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        return ops.conv3x3(x, weight, transposed)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        again = torch.is_grad_enabled()
        d_x = d_weight = None
        if ctx.needs_input_grad[0]:
            convolve = Conv3x3.apply if again else ops.conv3x3
            d_x = convolve(dy, weight, not ctx.transposed)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            correlate = Conv3x3Weight.apply if again else ops.conv3x3_weight
            d_weight = correlate(*((dy, x) if ctx.transposed else (x, dy)))  # type: ignore[no-untyped-call]
        return d_x, d_weight, None


class Conv3x3Weight(Function):
    """The operator conv3x3_weight, bilinear in x and dy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dy: Tensor) -> Tensor:
        ctx.save_for_backward(x, dy)
        return ops.conv3x3_weight(x, dy)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, d_weight: Tensor) -> Any:
        x, dy = ctx.saved_tensors
        convolve = Conv3x3.apply if torch.is_grad_enabled() else ops.conv3x3
        return (
            convolve(dy, d_weight, True) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            convolve(x, d_weight, False) if ctx.needs_input_grad[1] else None,  # type: ignore[no-untyped-call]
        )


class Conv3x3Down(Function):
    """The operator conv3x3_down: stride 2, no padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return ops.conv3x3_down(x, weight)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        again = torch.is_grad_enabled()
        d_x = d_weight = None
        if ctx.needs_input_grad[0]:
            d_x = (Conv3x3Up.apply if again else ops.conv3x3_up)(dy, weight)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            d_weight = (Conv3x3DownWeight.apply if again else ops.conv3x3_down_weight)(x, dy)  # type: ignore[no-untyped-call]
        return d_x, d_weight


class Conv3x3Up(Function):
    """The operator conv3x3_up, its adjoint."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return ops.conv3x3_up(x, weight)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        again = torch.is_grad_enabled()
        d_x = d_weight = None
        if ctx.needs_input_grad[0]:
            d_x = (Conv3x3Down.apply if again else ops.conv3x3_down)(dy, weight)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            d_weight = (Conv3x3DownWeight.apply if again else ops.conv3x3_down_weight)(dy, x)  # type: ignore[no-untyped-call]
        return d_x, d_weight


class Conv3x3DownWeight(Function):
    """The operator conv3x3_down_weight, of the larger images x and the smaller dy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dy: Tensor) -> Tensor:
        ctx.save_for_backward(x, dy)
        return ops.conv3x3_down_weight(x, dy)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, d_weight: Tensor) -> Any:
        x, dy = ctx.saved_tensors
        up, down = (
            (Conv3x3Up.apply, Conv3x3Down.apply)
            if torch.is_grad_enabled()
            else (ops.conv3x3_up, ops.conv3x3_down)
        )
        return (
            up(dy, d_weight) if ctx.needs_input_grad[0] else None,  # type: ignore[no-untyped-call]
            down(x, d_weight) if ctx.needs_input_grad[1] else None,  # type: ignore[no-untyped-call]
        )


native_conv3x3 = ops.differentiable("conv3x3", Conv3x3)
ops.differentiable("conv3x3_weight", Conv3x3Weight)
native_conv3x3_down = ops.differentiable("conv3x3_down", Conv3x3Down)
native_conv3x3_up = ops.differentiable("conv3x3_up", Conv3x3Up)
ops.differentiable("conv3x3_down_weight", Conv3x3DownWeight)
