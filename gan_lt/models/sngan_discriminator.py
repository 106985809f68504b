"""sngan's discriminator: a spectrally normalised ResNet with class projection (Miyato & Koyama, ICLR 2018)."""

from __future__ import annotations

import math
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_lt.arguments import check_floating
from gan_lt.models.convolution import Conv3x3
from gan_lt.models.interface import ImageDiscriminator
from gan_lt.models.mapping import checked_labels
from gan_lt.models.sngan import RESIDUAL_GAIN, check_sngan_sizes, xavier


def _normalized(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    normalized: nn.Module = spectral_norm(xavier(layer, gain))
    return normalized


class DiscriminatorBlock(nn.Module):
    """ReLU, conv, ReLU, conv and, where it halves the size, mean of 2x2; plus the 1x1 conv of the input.

    is_first: its input is an image, which goes in without ReLU.
    """

    def __init__(self, channels: int, out_channels: int, down: bool, is_first: bool = False) -> None:
        super().__init__()
        self.down, self.is_first = down, is_first
        hidden = out_channels if is_first or out_channels > channels else channels
        self.conv0 = _normalized(Conv3x3(channels, hidden), RESIDUAL_GAIN)
        self.conv1 = _normalized(Conv3x3(hidden, out_channels), RESIDUAL_GAIN)
        learned = down or channels != out_channels
        self.skip = _normalized(nn.Conv2d(channels, out_channels, 1)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv0(x if self.is_first else F.relu(x))
        h = self.conv1(F.relu(h))
        # a 1x1 convolution commutes with the mean of pixels, and is four times cheaper after it
        skip = F.avg_pool2d(x, 2) if self.down else x
        if self.skip is not None:
            skip = self.skip(skip)
        return (F.avg_pool2d(h, 2) if self.down else h) + skip


def discriminator_channels(resolution: int, channels: int) -> list[tuple[int, bool]]:
    """(channels, whether it halves the size) of every block.

    Up to 32x32: four blocks of twice the base, the first two halving. Above: base, doubled from block to block up to 16
    times, halving down to 4x4, and one block more.

    >>> discriminator_channels(32, 64)
    [(128, True), (128, True), (128, False), (128, False)]
    >>> discriminator_channels(64, 64)
    [(64, True), (128, True), (256, True), (512, True), (1024, False)]
    """
    if resolution <= 32:
        return [(2 * channels, True)] * 2 + [(2 * channels, False)] * 2
    halvings = int(math.log2(resolution)) - 2
    return [(channels * min(16, 2**i), i < halvings) for i in range(halvings + 1)]


class SnganDiscriminator(ImageDiscriminator):
    """Images and classes -> logits, every weight divided by its spectral norm.

    In training mode each pass makes one power iteration.

    Args:
        num_classes: 0 for an unconditional network.
        resolution, img_channels: of the images, as in `SnganGenerator`.
        channels: base of `discriminator_channels`.

    Raises:
        ValueError: an impossible size.

    Source: Miyato et al., "Spectral Normalization for Generative Adversarial Networks"; Miyato & Koyama, "cGANs with
    Projection Discriminator"; both ICLR 2018.
    """

    def __init__(
        self, num_classes: int = 10, resolution: int = 32, img_channels: int = 3, channels: int = 64
    ) -> None:
        super().__init__()
        check_sngan_sizes(resolution, img_channels, num_classes, channels)
        self.config: dict[str, Any] = {
            "num_classes": num_classes,
            "resolution": resolution,
            "img_channels": img_channels,
            "channels": channels,
        }
        self.num_classes, self.resolution, self.img_channels = num_classes, resolution, img_channels
        widths = discriminator_channels(resolution, channels)
        inputs = [img_channels, *(width for width, _ in widths)]
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(inputs[i], width, down, is_first=i == 0)
            for i, (width, down) in enumerate(widths)
        )
        self.feature_dim = inputs[-1]
        self.out = _normalized(nn.Linear(self.feature_dim, 1))
        self.embed: nn.Module | None = None
        if num_classes > 0:
            embed = nn.Embedding(num_classes, self.feature_dim)
            nn.init.xavier_uniform_(embed.weight)
            self.embed = spectral_norm(embed)

    def features(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] -> features [N, feature_dim], summed over pixels."""
        expected = (self.img_channels, self.resolution, self.resolution)
        check_floating(images, "images", f"[N, {', '.join(map(str, expected))}]")
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ValueError(f"images must be [N, {', '.join(map(str, expected))}], got {list(images.shape)}")
        x = images
        for block in self.blocks:
            x = block(x)
        return F.relu(x).sum(dim=(2, 3))

    def judge(self, images: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.features(images)
        logits: Tensor = self.out(features).squeeze(1)
        if self.embed is not None:
            classes = checked_labels(y, self.num_classes, len(images))
            logits = logits + (cast(Tensor, self.embed(classes)) * features).sum(dim=1)
        return logits, features
