"""A block of a ResNet with fixed weights: two 3x3 convolutions around a shortcut, with nothing between them but the kernels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from cuda_ops import ops
from cuda_ops.activation import bias_act
from cuda_ops.activation_table import ACTIVATIONS
from cuda_ops.autograd import BiasActGrad
from cuda_ops.convolution import conv3x3, serves
from cuda_ops.convolution_autograd import native_conv3x3


def residual_block(x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
    """relu(conv(relu(conv(x, weight1) + bias1), weight2) + bias2 + x), convolutions with padding 1 (He et al., CVPR 2016).

    Where `conv3x3` has a kernel for x, weights need no gradient, and torch.compile is not tracing, biases, ReLUs and the
    shortcut ride on the convolutions, in the gradient too: of six passes over memory beside them one is left. Elsewhere it is
    computed one operation after the other.

    Args:
        x: [N, C, H, W]. weight1, weight2: [C, C, 3, 3]. bias1, bias2: [C]. All of the same dtype and device.

    Returns:
        [N, C, H, W], in channels_last where x is.

    Raises:
        ValueError: other shapes.
    """
    for name, weight, bias in (("1", weight1, bias1), ("2", weight2, bias2)):
        if x.ndim != 4 or weight.shape != (x.shape[1], x.shape[1], 3, 3) or bias.shape != x.shape[1:2]:
            raise ValueError(
                f"residual_block takes x [N, C, H, W], weights [C, C, 3, 3] and biases [C], got {list(x.shape)}, "
                f"weight{name} {list(weight.shape)} and bias{name} {list(bias.shape)}"
            )
    parameters = (weight1, bias1, weight2, bias2)
    fixed = not torch.is_grad_enabled() or not any(t.requires_grad for t in parameters)
    beside = all(t.device == x.device for t in parameters)  # else bias_act says what is wrong
    served = x.dtype == torch.float32 and serves(x, weight1) and serves(x, weight2)
    if fixed and beside and not torch.compiler.is_compiling() and served:
        return _ResidualBlock.apply(x, weight1, bias1, weight2, bias2)  # type: ignore[no-any-return, no-untyped-call]
    y = bias_act(conv3x3(x, weight1), bias1, act="relu", gain=1.0)
    return bias_act(x + conv3x3(y, weight2), bias2, act="relu", gain=1.0)


class _ResidualBlock(Function):
    """Arguments as of `residual_block`; x alone gets a gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor
    ) -> Tensor:
        hidden = ops.conv3x3_finished(x, weight1, False, bias1, None, None, True)
        y = ops.conv3x3_finished(hidden, weight2, False, bias2, x, None, True)
        ctx.save_for_backward(hidden, y, weight1, weight2)
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        hidden, y, weight1, weight2 = ctx.saved_tensors
        relu = (1, ACTIVATIONS["relu"].index, 0.0, 1.0, math.inf, True)
        if torch.is_grad_enabled():  # linear in dy: a ReLU's second derivative is 0
            d_sum, _ = BiasActGrad.apply(dy, y, None, None, *relu)  # type: ignore[no-untyped-call]
            d_hidden = native_conv3x3(d_sum, weight2, False, True).masked_fill(hidden <= 0, 0)
            return d_sum + native_conv3x3(d_hidden, weight1, False, True), None, None, None, None
        d_sum, _ = ops.bias_act_grad(dy, y, None, None, *relu)
        d_hidden = ops.conv3x3_finished(d_sum, weight2, True, None, None, hidden, False)
        dx = ops.conv3x3_finished(d_hidden, weight1, True, None, d_sum, None, False)
        return dx, None, None, None, None


__all__ = ["residual_block"]
