"""The StyleGAN2 discriminator with projection conditioning (Karras et al., NeurIPS 2020; Miyato & Koyama, ICLR 2018)."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from cuda_ops import downsample2d, setup_filter
from gan_lt.arguments import check_floating, check_integer
from gan_lt.models.generator import check_sizes
from gan_lt.models.interface import ImageDiscriminator
from gan_lt.models.layers import Conv2d, FullyConnected, MinibatchStd
from gan_lt.models.mapping import MappingNetwork
from gan_lt.models.synthesis import ARCHITECTURES, block_channels


class DiscriminatorBlock(nn.Module):
    """One halving of the resolution: from-image where the architecture has it, conv0, conv1 (downsampling)."""

    resample_filter: Tensor

    def __init__(
        self,
        channels: int,
        out_channels: int,
        img_channels: int,
        is_first: bool,
        architecture: str,
        conv_clamp: float | None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.from_image: Conv2d | None = None
        self.skip: Conv2d | None = None
        if is_first or architecture == "skip":
            self.from_image = Conv2d(img_channels, channels, 1, activation="lrelu", conv_clamp=conv_clamp)
        self.conv0 = Conv2d(channels, channels, 3, activation="lrelu", conv_clamp=conv_clamp)
        self.conv1 = Conv2d(channels, out_channels, 3, activation="lrelu", down=2, conv_clamp=conv_clamp)
        if architecture == "resnet":
            self.skip = Conv2d(channels, out_channels, 1, bias=False, down=2)
        self.register_buffer("resample_filter", setup_filter([1, 3, 3, 1]), persistent=False)

    def forward(self, x: Tensor | None, image: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.from_image is not None:
            features = self.from_image(image)
            x = features if x is None else x + features
            image = (
                downsample2d(image, self.resample_filter)
                if self.architecture == "skip" and image is not None
                else None
            )
        if self.skip is not None:
            residual = self.skip(x, gain=math.sqrt(0.5))
            return residual + self.conv1(self.conv0(x), gain=math.sqrt(0.5)), image
        return self.conv1(self.conv0(x)), image


class Discriminator(ImageDiscriminator):
    """Images and classes -> logits; high for what looks real.

    Args:
        num_classes: 0 for an unconditional network.
        resolution, img_channels, channel_base, channel_max, conv_clamp: as in `Generator`.
        architecture: "resnet", "orig" or "skip".
        mbstd_group_size: images in a minibatch-stddev group; None: the whole batch.
        mbstd_channels: 1, or 0 for no minibatch-stddev layer.
        cmap_dim: size of the class projection; None: the channels at 4x4.
        mapping_layers: fully connected layers between class embedding and projection.

    Raises:
        ValueError: an impossible size or an unknown architecture.
    """

    def __init__(
        self,
        num_classes: int = 10,
        resolution: int = 32,
        img_channels: int = 3,
        channel_base: int = 32768,
        channel_max: int = 512,
        architecture: str = "resnet",
        conv_clamp: float | None = None,
        mbstd_group_size: int | None = 4,
        mbstd_channels: int = 1,
        cmap_dim: int | None = None,
        mapping_layers: int = 8,
    ) -> None:
        super().__init__()
        check_sizes(resolution, img_channels, num_classes, channel_base, channel_max, conv_clamp)
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture={architecture!r} must be one of {', '.join(ARCHITECTURES)}")
        if mbstd_group_size is not None:
            check_integer(mbstd_group_size, "mbstd_group_size", 1, ", or None for the whole batch")
        check_integer(mapping_layers, "mapping_layers", 0)
        if cmap_dim is not None:
            check_integer(cmap_dim, "cmap_dim", 1, ", or None for the channels at 4x4")
        if mbstd_channels not in (0, 1):
            raise ValueError(f"mbstd_channels={mbstd_channels} must be 0 or 1")
        self.config = {
            "num_classes": num_classes,
            "resolution": resolution,
            "img_channels": img_channels,
            "channel_base": channel_base,
            "channel_max": channel_max,
            "architecture": architecture,
            "conv_clamp": conv_clamp,
            "mbstd_group_size": mbstd_group_size,
            "mbstd_channels": mbstd_channels,
            "cmap_dim": cmap_dim,
            "mapping_layers": mapping_layers,
        }
        self.num_classes, self.resolution, self.img_channels = num_classes, resolution, img_channels
        self.channels = channels = block_channels(resolution, channel_base, channel_max)
        sizes = sorted(channels, reverse=True)
        self.compute_dtype: torch.dtype | None = None  # see gan_lt.models.precision
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(
                channels[size],
                channels[size // 2],
                img_channels,
                is_first=size == resolution,
                architecture=architecture,
                conv_clamp=conv_clamp,
            )
            for size in sizes
            if size > 4
        )
        self.feature_dim = last = channels[4]
        needs_image = architecture == "skip" or resolution == 4
        self.from_image = Conv2d(img_channels, last, 1, activation="lrelu") if needs_image else None
        self.minibatch_std = MinibatchStd(mbstd_group_size) if mbstd_channels else None
        self.conv = Conv2d(last + mbstd_channels, last, 3, activation="lrelu", conv_clamp=conv_clamp)
        self.fc = FullyConnected(last * 16, last, activation="lrelu")
        self.cmap_dim = (cmap_dim or last) if num_classes > 0 else 0
        self.out = FullyConnected(last, self.cmap_dim or 1)
        self.mapping = (
            MappingNetwork(0, num_classes, self.cmap_dim, None, mapping_layers) if num_classes > 0 else None
        )

    def features(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] -> the features [N, channels at 4x4] that the logits are computed from."""
        expected = (self.img_channels, self.resolution, self.resolution)
        check_floating(images, "images", f"[N, {', '.join(map(str, expected))}]")
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ValueError(f"images must be [N, {', '.join(map(str, expected))}], got {list(images.shape)}")
        x: Tensor | None = None
        image: Tensor | None = images if self.compute_dtype is None else images.to(self.compute_dtype)
        for block in self.blocks:
            x, image = block(x, image)
        if self.from_image is not None:
            features = self.from_image(image)
            x = features if x is None else x + features
        return self._last_layers(cast(Tensor, x))

    def features_from(self, x: Tensor, resolution: int) -> Tensor:
        """As `features`, from what enters the block of a lower resolution: x [N, channels[resolution], resolution, resolution].

        Raises:
            ValueError: architecture "skip", whose blocks need the image.
        """
        if self.config["architecture"] == "skip":
            raise ValueError("the blocks of a discriminator with architecture='skip' need the image")
        if self.compute_dtype is not None:
            x = x.to(self.compute_dtype)
        sizes = [self.resolution >> i for i in range(len(self.blocks))]
        for size, block in zip(sizes, self.blocks, strict=True):
            if size <= resolution:
                x, _ = block(x, None)
        return self._last_layers(x)

    def _last_layers(self, x: Tensor) -> Tensor:
        x = x if x.dtype == torch.float64 else x.float()
        if self.minibatch_std is not None:
            x = self.minibatch_std(x)
        x = self.conv(x)
        # flatten in NCHW order, whatever the memory layout
        out: Tensor = self.fc(x.flatten(1))
        return out

    def judge(self, images: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.features(images)
        if isinstance(y, Tensor) and self.mapping is not None and y.ndim == 1 and len(y) != len(images):
            raise ValueError(f"y has {len(y)} labels for a batch of {len(images)}")
        x: Tensor = self.out(features)
        if self.mapping is None:
            return x.squeeze(1), features
        projection: Tensor = self.mapping(None, y)
        return (x * projection).sum(dim=1) * (1 / math.sqrt(self.cmap_dim)), features


__all__ = ["Discriminator"]
