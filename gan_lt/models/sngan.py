"""sngan's generator: a ResNet with class-conditional batch normalisation (Miyato & Koyama, ICLR 2018, appendix)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_lt.arguments import check_floating, check_integer, check_number
from gan_lt.models.conditional_norm import BatchNorm, ConditionalBatchNorm
from gan_lt.models.convolution import Conv3x3
from gan_lt.models.interface import NOISE_MODES, GeneratorPass, ImageGenerator, check_class_facts
from gan_lt.models.mapping import checked_labels

RESIDUAL_GAIN = math.sqrt(2)  # of the initial weights on the path through ReLUs


def xavier(layer: nn.Module, gain: float = 1.0) -> nn.Module:
    """The layer, with Xavier-uniform weights and zero bias."""
    nn.init.xavier_uniform_(cast(Tensor, layer.weight), gain)
    if layer.bias is not None:
        nn.init.zeros_(cast(Tensor, layer.bias))
    return layer


class GeneratorBlock(nn.Module):
    """Twice the size: norm, ReLU, upsample, conv, norm, ReLU, conv, plus the upsampled 1x1 conv of the input."""

    def __init__(self, channels: int, out_channels: int, num_classes: int) -> None:
        super().__init__()
        self.norm0 = ConditionalBatchNorm(channels, num_classes)
        self.conv0 = xavier(Conv3x3(channels, out_channels), RESIDUAL_GAIN)
        self.norm1 = ConditionalBatchNorm(out_channels, num_classes)
        self.conv1 = xavier(Conv3x3(out_channels, out_channels), RESIDUAL_GAIN)
        self.skip = xavier(nn.Conv2d(channels, out_channels, 1))

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        h = F.interpolate(F.relu(self.norm0(x, y)), scale_factor=2.0, mode="nearest")
        h = self.conv1(F.relu(self.norm1(self.conv0(h), y)))
        # a 1x1 convolution commutes with repeating pixels, and is four times cheaper before it
        skip = F.interpolate(self.skip(x), scale_factor=2.0, mode="nearest")
        return cast(Tensor, h + skip)


def generator_channels(resolution: int, channels: int) -> list[int]:
    """Channels at 4x4, 8x8, ... up to resolution: 4 times the base up to 32x32; above, base * resolution / size, at most 16x.

    >>> generator_channels(32, 64), generator_channels(128, 64)
    ([256, 256, 256, 256], [1024, 1024, 512, 256, 128, 64])
    """
    sizes = [2**i for i in range(2, int(math.log2(resolution)) + 1)]
    return [channels * (4 if resolution <= 32 else min(16, resolution // size)) for size in sizes]


class SnganGenerator(ImageGenerator):
    """ResNet generator with conditional (or, unconditional, plain) batch norm.

    In training mode images depend on their batch; evaluation mode uses the running statistics.

    Args:
        z_dim: size of the latent z.
        num_classes: 0 for an unconditional network.
        resolution: of the images, a power of two, 8 to 256.
        img_channels: 1 or 3.
        channels: base of `generator_channels`.
        class_names, class_counts: as in `Generator`.

    Raises:
        ValueError: an impossible size, names or counts that don't match num_classes.

    Source: Miyato et al. and Miyato & Koyama, ICLR 2018. Initial gains are 1 and biases 0.

    >>> G = SnganGenerator(z_dim=8, num_classes=3, resolution=8, img_channels=1, channels=4)
    >>> G(torch.randn(2, 8), torch.tensor([0, 2])).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        z_dim: int = 128,
        num_classes: int = 10,
        resolution: int = 32,
        img_channels: int = 3,
        channels: int = 64,
        class_names: Sequence[str] | None = None,
        class_counts: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_sngan_sizes(resolution, img_channels, num_classes, channels)
        check_integer(z_dim, "z_dim", 1)
        check_class_facts(num_classes, class_names, class_counts)
        self.config: dict[str, Any] = {
            "z_dim": z_dim,
            "num_classes": num_classes,
            "resolution": resolution,
            "img_channels": img_channels,
            "channels": channels,
            "class_names": None if class_names is None else [str(name) for name in class_names],
            "class_counts": None if class_counts is None else [int(n) for n in class_counts],
        }
        self.z_dim = self.w_dim = z_dim
        self.num_classes, self.resolution, self.img_channels = num_classes, resolution, img_channels
        self.class_names = tuple(self.config["class_names"] or (str(k) for k in range(num_classes)))
        self.class_counts = None if class_counts is None else tuple(int(n) for n in class_counts)
        widths = generator_channels(resolution, channels)
        self.first = xavier(nn.Linear(z_dim, widths[0] * 16))
        self.blocks = nn.ModuleList(GeneratorBlock(a, b, num_classes) for a, b in itertools.pairwise(widths))
        self.norm = BatchNorm(widths[-1])
        self.to_image = xavier(Conv3x3(widths[-1], img_channels))

    def conditioning_parameters(self) -> list[Tensor]:
        """Gain and bias [K, channels] of every conditional batch norm, first to last."""
        tables = []
        for module in self.modules():
            if (
                isinstance(module, ConditionalBatchNorm)
                and module.gain is not None
                and module.bias is not None
            ):
                tables += [module.gain, module.bias]
        return cast(list[Tensor], tables)

    @property
    def conditioning_layers(self) -> int:
        return len(self.conditioning_parameters()) // 2

    def generate(
        self,
        z: Tensor,
        y: Tensor | None,
        embedding_noise: Tensor | None = None,
        style_mixing: float = 0.0,
        low_resolution: int | None = None,
    ) -> GeneratorPass:
        if embedding_noise is not None or style_mixing > 0 or low_resolution is not None:
            raise ValueError(
                "sngan has no class embedding, no styles and no low-resolution image: "
                "embedding_noise, style_mixing and low_resolution must be left out"
            )
        return GeneratorPass(self._images(z, y), z, z.unsqueeze(1))

    def forward(
        self,
        z: Tensor,
        y: Tensor | None = None,
        truncation_psi: float = 1.0,
        noise_mode: str = "random",
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Make images.

        Args:
            z: [N, z_dim], standard normal.
            y: int64 class indices [N]; ignored by an unconditional generator.
            truncation_psi: z is pulled by it towards its mean, 0: 1 is the full distribution.
            noise_mode: "random", "const" or "none", all the same here: the layers add no noise.
            truncation_cutoff: must be None, z enters one layer only.

        Returns:
            [N, img_channels, resolution, resolution] float32 in [-1, 1].
        """
        if noise_mode not in NOISE_MODES:
            raise ValueError(f"noise_mode={noise_mode!r} must be one of {', '.join(NOISE_MODES)}")
        if truncation_cutoff is not None:
            raise ValueError(f"truncation_cutoff={truncation_cutoff}: sngan has no layers to choose from")
        check_floating(z, "z", f"[N, {self.z_dim}]")
        check_number(truncation_psi, "truncation_psi")
        return self._images(z if truncation_psi == 1 else z * truncation_psi, y)

    def _images(self, z: Tensor, y: Tensor | None) -> Tensor:
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z must be [N, {self.z_dim}], got {list(z.shape)}")
        y = checked_labels(y, self.num_classes, len(z)) if self.num_classes > 0 else None
        x = self.first(z.float()).view(len(z), -1, 4, 4)
        for block in self.blocks:
            x = block(x, y)
        return torch.tanh(self.to_image(F.relu(self.norm(x))))


def check_sngan_sizes(resolution: int, img_channels: int, num_classes: int, channels: int) -> None:
    """ValueError with the offending value unless an sngan of these sizes can be built."""
    check_integer(resolution, "resolution", 1)
    if resolution < 8 or resolution > 256 or resolution & (resolution - 1):
        raise ValueError(f"resolution={resolution} must be a power of two from 8 to 256 for sngan")
    check_integer(img_channels, "img_channels", 1)
    check_integer(num_classes, "num_classes", 0, " (0: unconditional)")
    check_integer(channels, "channels", 1)
