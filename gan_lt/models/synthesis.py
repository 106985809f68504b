"""The StyleGAN2 synthesis network: w -> image (Karras et al., CVPR 2020), architectures orig, skip and resnet."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from cuda_ops import setup_filter, upsample2d
from gan_lt.arguments import check_floating
from gan_lt.models.interface import NOISE_MODES
from gan_lt.models.layers import Conv2d
from gan_lt.models.modulation import ModulatedConv2d, ToImage

ARCHITECTURES = ("orig", "skip", "resnet")


def block_channels(resolution: int, channel_base: int, channel_max: int) -> dict[int, int]:
    """Channels at each resolution from 4 up: min(channel_base / resolution, channel_max)."""
    sizes = [2**i for i in range(2, int(math.log2(resolution)) + 1)]
    return {size: max(1, min(channel_base // size, channel_max)) for size in sizes}


class SynthesisBlock(nn.Module):
    """One resolution: conv0 (upsampling; not at 4x4), conv1, and to-image where the architecture has it."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        is_last: bool,
        architecture: str,
        conv_clamp: float | None,
        noise_inputs: bool,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.const = (
            nn.Parameter(torch.randn(out_channels, resolution, resolution)) if in_channels == 0 else None
        )
        self.conv0: ModulatedConv2d | None = None
        self.skip: Conv2d | None = None
        self.to_image: ToImage | None = None
        if in_channels > 0:
            self.conv0 = ModulatedConv2d(
                in_channels,
                out_channels,
                w_dim,
                resolution,
                up=2,
                conv_clamp=conv_clamp,
                noise_inputs=noise_inputs,
            )
        self.conv1 = ModulatedConv2d(
            out_channels, out_channels, w_dim, resolution, conv_clamp=conv_clamp, noise_inputs=noise_inputs
        )
        self.num_convs = 1 if in_channels == 0 else 2
        if is_last or architecture == "skip":
            self.to_image = ToImage(out_channels, img_channels, w_dim, conv_clamp=conv_clamp)
        if in_channels > 0 and architecture == "resnet":
            self.skip = Conv2d(in_channels, out_channels, kernel_size=1, bias=False, up=2)
        self.register_buffer("resample_filter", setup_filter([1, 3, 3, 1]), persistent=False)

    def forward(
        self,
        x: Tensor | None,
        image: Tensor | None,
        ws: Tensor,
        noise_mode: str,
        dtype: torch.dtype | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """x [N, in, H/2, W/2] (None at 4x4), the image so far or None, ws [N, num_convs + 1, w_dim]."""
        if x is None:
            const = cast(Tensor, self.const)
            x = (const if dtype is None else const.to(dtype)).unsqueeze(0).expand(ws.shape[0], -1, -1, -1)
            x = self.conv1(x, ws[:, 0], noise_mode)
        elif self.skip is not None and self.conv0 is not None:
            residual = self.skip(x, gain=math.sqrt(0.5))
            x = self.conv0(x, ws[:, 0], noise_mode)
            x = residual + self.conv1(x, ws[:, 1], noise_mode, gain=math.sqrt(0.5))
        elif self.conv0 is not None:
            x = self.conv0(x, ws[:, 0], noise_mode)
            x = self.conv1(x, ws[:, 1], noise_mode)
        if image is not None:
            image = upsample2d(image, self.resample_filter)
        if self.to_image is not None:
            addition = self.to_image(x, ws[:, self.num_convs]).float()
            image = addition if image is None else image + addition
        return cast(Tensor, x), image


class SynthesisNetwork(nn.Module):
    """w of every layer -> image.

    Args:
        w_dim: size of w.
        resolution: of the images, a power of two from 4.
        img_channels: 1 or 3.
        channel_base, channel_max: see `block_channels`.
        architecture: orig (one to-image layer), skip (one at each resolution, summed) or resnet.
        conv_clamp: limit of every convolution's output, for half precision; None: no limit.
        noise_inputs: whether the layers add noise.
        apart_up_to: the image of the layers up to this size depends on their w alone; 0: as in StyleGAN2, where a size's
            to-image layer shares its w with the first layer of the next size.
    """

    def __init__(
        self,
        w_dim: int,
        resolution: int,
        img_channels: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        architecture: str = "skip",
        conv_clamp: float | None = None,
        noise_inputs: bool = True,
        apart_up_to: int = 0,
    ) -> None:
        super().__init__()
        self.w_dim, self.apart_up_to = w_dim, apart_up_to
        channels = block_channels(resolution, channel_base, channel_max)
        self.resolution = resolution
        self.compute_dtype: torch.dtype | None = None  # see gan_lt.models.precision
        self.blocks = nn.ModuleList(
            SynthesisBlock(
                channels[size // 2] if size > 4 else 0,
                out,
                w_dim,
                size,
                img_channels,
                is_last=size == resolution,
                architecture=architecture,
                conv_clamp=conv_clamp,
                noise_inputs=noise_inputs,
            )
            for size, out in channels.items()
        )
        self.num_ws = sum(cast(SynthesisBlock, block).num_convs for block in self.blocks) + 1

    def num_ws_up_to(self, resolution: int) -> int:
        """Layers (without to-image) of the blocks up to this size."""
        return sum(
            cast(SynthesisBlock, block).num_convs
            for i, block in enumerate(self.blocks)
            if 4 * 2**i <= resolution
        )

    def forward(self, ws: Tensor, noise_mode: str = "random") -> Tensor:
        """ws [N, num_ws, w_dim] -> images [N, img_channels, resolution, resolution], float32, about [-1, 1]."""
        return self.images(ws, noise_mode)[0]

    def images(
        self, ws: Tensor, noise_mode: str = "random", low_resolution: int | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The images, and those of the layers up to the size `low_resolution` (architecture skip) or None."""
        if noise_mode not in NOISE_MODES:
            raise ValueError(f"noise_mode={noise_mode!r} must be one of {', '.join(NOISE_MODES)}")
        check_floating(ws, "w", f"[N, {self.num_ws}, {self.w_dim}]")
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"w must be [N, {self.num_ws}, {self.w_dim}], got {list(ws.shape)}")
        x: Tensor | None = None
        image: Tensor | None = None
        small: Tensor | None = None
        index, size = 0, 4
        for module in self.blocks:
            block = cast(SynthesisBlock, module)
            block_ws = ws[:, index : index + block.num_convs + 1]
            if size == self.apart_up_to:
                block_ws = torch.cat([block_ws[:, :-1], block_ws[:, -2:-1]], dim=1)
            x, image = block(x, image, block_ws, noise_mode, self.compute_dtype)
            if size == low_resolution:
                small = image
            index, size = index + block.num_convs, 2 * size
        return cast(Tensor, image), small


__all__ = ["ARCHITECTURES", "NOISE_MODES", "SynthesisNetwork", "block_channels"]
