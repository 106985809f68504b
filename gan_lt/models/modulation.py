"""Modulated convolutions: the layers through which w steers the image (Karras et al., CVPR 2020, section 2.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cuda_ops import bias_act, modulated_epilogue, setup_filter
from gan_lt.models.layers import FullyConnected, resampling_conv2d
from gan_lt.processes import draw_rows


class ModulatedConv2d(nn.Module):
    """3x3 convolution whose input channels are scaled by a style, with demodulation, noise, bias and leaky ReLU.

    The style scales the activations before, and the demodulation those after one ordinary convolution with shared
    weights. That equals a convolution with per-sample weights (grouped, as usually written) and is much faster,
    above all on CPUs and in channels_last.

    Args:
        in_channels, out_channels: sizes.
        w_dim: size of w.
        resolution: of the output.
        up: 1 or 2.
        conv_clamp: output limit, or None.
        noise_inputs: whether the layer adds noise; without, every noise mode means none.

    Shapes: x [N, in, H, W], w [N, w_dim] -> [N, out, resolution, resolution].
    """

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        up: int = 1,
        conv_clamp: float | None = None,
        noise_inputs: bool = True,
    ) -> None:
        super().__init__()
        self.up, self.resolution, self.conv_clamp = up, resolution, conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_inputs = noise_inputs
        if noise_inputs:
            self.noise_strength = nn.Parameter(torch.zeros([]))
            self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", setup_filter([1, 3, 3, 1]), persistent=False)

    def forward(self, x: Tensor, w: Tensor, noise_mode: str = "random", gain: float = 1.0) -> Tensor:
        style = self.affine(w)
        # sum over i, k of (W_oik s_i)^2 = (s^2) (sum_k W^2)^T: no per-sample weight is ever formed
        energy = self.weight.square().sum(dim=[2, 3])
        demodulation = (style.square() @ energy.t() + 1e-8).rsqrt()
        x = x * style.to(x.dtype)[:, :, None, None]
        x = resampling_conv2d(x, self.weight.to(x.dtype), self.resample_filter, self.up, down=1, padding=1)
        noise = None
        if not self.noise_inputs:
            noise_mode = "none"
        if noise_mode == "random":
            noise = draw_rows(
                lambda n: torch.randn(n, 1, self.resolution, self.resolution, device=x.device, dtype=x.dtype),
                len(x),
            )
        elif noise_mode == "const":
            noise = self.noise_const.to(x.dtype)
        return modulated_epilogue(
            x,
            demod=demodulation.to(x.dtype),
            noise=noise,
            strength=None if noise is None else self.noise_strength.to(x.dtype),
            bias=self.bias.to(x.dtype),
            gain=math.sqrt(2) * gain,
            clamp=None if self.conv_clamp is None else self.conv_clamp * gain,
        )


class ToImage(nn.Module):
    """Modulated 1x1 convolution to image channels, without demodulation.

    With so few outputs, weights for every image cost less than scaled activations: one matrix product an image.

    Shapes: x [N, in, H, W], w [N, w_dim] -> [N, img_channels, H, W].
    """

    def __init__(
        self, in_channels: int, img_channels: int, w_dim: int, conv_clamp: float | None = None
    ) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(img_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) * self.weight_gain
        weight = (self.weight.flatten(1) * style[:, None]).to(x.dtype)  # [N, img_channels, in]
        n, _, height, width = x.shape
        if x.is_contiguous(memory_format=torch.channels_last):  # pixels are rows, in and out
            rows = x.permute(0, 2, 3, 1).flatten(1, 2) @ weight.transpose(1, 2)
            x = rows.reshape(n, height, width, len(self.bias)).permute(0, 3, 1, 2)
        else:
            x = (weight @ x.flatten(2)).reshape(n, len(self.bias), height, width)
        return bias_act(x, self.bias.to(x.dtype), clamp=self.conv_clamp)
