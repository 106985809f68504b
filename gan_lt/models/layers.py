"""Equalised-learning-rate layers of StyleGAN2 (Karras et al., CVPR 2020; the scaling is ProGAN's, ICLR 2018, section 4.1)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops import (
    bias_act,
    conv3x3,
    conv3x3_down,
    conv3x3_up,
    downsample2d,
    setup_filter,
    upfirdn2d,
    upsample2d,
)


def normalize_2nd_moment(x: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x / sqrt(mean(x^2) + eps) along `dim`."""
    return x * (x.square().mean(dim=dim, keepdim=True) + eps).rsqrt()


class FullyConnected(nn.Module):
    """act(x W^T / sqrt(in) + b), with an optional learning-rate multiplier.

    Args:
        in_features, out_features: sizes.
        bias: whether there is one.
        activation: as in `cuda_ops.bias_act`.
        lr_multiplier: scales weight and bias at run time, so that Adam's step is smaller by this factor.
        bias_init: initial (effective) bias.

    Shapes: [N, in_features] -> [N, out_features].
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], bias_init / lr_multiplier)) if bias else None
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.weight_gain
        bias = None if self.bias is None else self.bias * self.bias_gain
        if self.activation == "linear":
            return F.linear(x, weight, bias)
        return bias_act(F.linear(x, weight), bias, act=self.activation)


class ClassEmbedding(nn.Module):
    """The class vector c_y that a mapping network concatenates to z.

    Equal to an equalised fully connected layer on the one-hot label, W[y] / sqrt(K) + b, but looked up instead of
    multiplied, so that its cost does not grow with the number of classes.

    Shapes: labels int64 [N] -> [N, features].
    """

    def __init__(self, num_classes: int, features: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.weight = nn.Parameter(torch.randn(num_classes, features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.weight_gain = 1 / math.sqrt(num_classes)

    def forward(self, labels: Tensor) -> Tensor:
        return F.embedding(labels, self.weight) * self.weight_gain + self.bias

    def table(self) -> Tensor:
        """[K, features]: the vector of every class, as the mapping network computes it before normalisation."""
        # in place: with many classes another copy of the table costs more than the arithmetic
        return (self.weight * self.weight_gain).add_(self.bias)


class Conv2d(nn.Module):
    """Convolution, bias, activation, optionally with 2x up- or downsampling through a low-pass filter.

    Args:
        in_channels, out_channels, kernel_size: as usual; the padding keeps the size.
        bias, activation: as in `FullyConnected`.
        up, down: 1 or 2, not both 2.
        resample_filter: taps of the low-pass filter.
        conv_clamp: output limit, or None.

    Shapes: [N, in, H, W] -> [N, out, H * up / down, W * up / down].
    """

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        activation: str = "linear",
        up: int = 1,
        down: int = 1,
        resample_filter: tuple[float, ...] = (1, 3, 3, 1),
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.up, self.down, self.conv_clamp = up, down, conv_clamp
        self.padding = kernel_size // 2
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.register_buffer("resample_filter", setup_filter(resample_filter), persistent=False)

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        weight = (self.weight * self.weight_gain).to(x.dtype)
        x = resampling_conv2d(x, weight, self.resample_filter, self.up, self.down, self.padding)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        if bias is None and self.activation == "linear" and clamp is None:
            return x if gain == 1 else x * gain
        act_gain = gain * (math.sqrt(2) if self.activation == "lrelu" else 1.0)
        return bias_act(x, bias, act=self.activation, gain=act_gain, clamp=clamp)


def resampling_conv2d(x: Tensor, weight: Tensor, f: Tensor, up: int, down: int, padding: int) -> Tensor:
    """Convolution joined with 2x resampling, in the order that costs the least.

    Up: a strided transposed convolution, then the filter at full size, a quarter of the multiplications of
    filtering first. Down: the filter, then a strided convolution; a 1x1 kernel is applied at the lower resolution.

    Args:
        x: [N, I, H, W]. weight: [O, I, k, k]. f: [4, 4] or another low-pass filter.
        up, down: 1 or 2. padding: k // 2.
    """
    if up == 1 and down == 1:
        return conv3x3(x, weight) if weight.shape[-1] == 3 else F.conv2d(x, weight, padding=padding)
    kernel = weight.shape[-1]
    size = f.shape[-1]
    if up == 2:
        if kernel == 1:
            return upsample2d(F.conv2d(x, weight), f)
        transposed = weight.transpose(0, 1)
        x = conv3x3_up(x, transposed) if kernel == 3 else F.conv_transpose2d(x, transposed, stride=2)
        before = padding + (size + 1) // 2 - (kernel - 1)
        after = padding + (size - 2) // 2 - (kernel - 2)
        return upfirdn2d(x, f, padding=(before, after, before, after), gain=4.0)
    if kernel == 1:
        return F.conv2d(downsample2d(x, f), weight)
    before = padding + (size - 1) // 2
    after = padding + (size - 2) // 2
    x = upfirdn2d(x, f, padding=(before, after, before, after))
    return conv3x3_down(x, weight) if kernel == 3 else F.conv2d(x, weight, stride=2)


class MinibatchStd(nn.Module):
    """Appends the mean standard deviation over a group of images as one more channel (Karras et al., ICLR 2018).

    Args:
        group_size: images a group; None or more than the batch: the whole batch.

    Shapes: [N, C, H, W] -> [N, C + 1, H, W].

    Raises:
        ValueError: N is not a multiple of the group size.
    """

    def __init__(self, group_size: int | None) -> None:
        super().__init__()
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        group = n if self.group_size is None else min(self.group_size, n)
        if n == 0 or n % group:
            raise ValueError(
                f"a batch of {n} images can't be divided into minibatch-stddev groups of {group}"
            )
        y = x.float().reshape(group, n // group, *x.shape[1:])
        # not var(): over the first dimension it is many times slower than its two means
        variance = (y - y.mean(dim=0)).square().mean(dim=0)
        std = (variance + 1e-8).sqrt().mean(dim=[1, 2, 3])
        feature = std.to(x.dtype).repeat(group).reshape(n, 1, 1, 1).expand(n, 1, h, w)
        if x.is_contiguous(memory_format=torch.channels_last):
            feature = feature.contiguous(
                memory_format=torch.channels_last
            )  # or cat would not keep x's layout
        return torch.cat([x, feature], dim=1)
