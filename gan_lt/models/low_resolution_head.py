"""An unconditional head that judges small images with the discriminator's last blocks (for UTLO)."""

from __future__ import annotations

from torch import Tensor, nn

from gan_lt.models.discriminator import Discriminator
from gan_lt.models.layers import Conv2d, FullyConnected


class LowResolutionHead(nn.Module):
    """From-image and output layer; what lies between are the discriminator's blocks from `resolution` down.

    Args:
        discriminator: whose blocks are shared; it is not part of this module.
        resolution: of the images, below the discriminator's and at least 8.

    Raises:
        ValueError: a size without blocks, or a discriminator with architecture "skip".
    """

    def __init__(self, discriminator: Discriminator, resolution: int) -> None:
        super().__init__()
        if resolution < 8 or resolution >= discriminator.resolution or resolution & (resolution - 1):
            raise ValueError(
                f"resolution={resolution} must be a power of two from 8 to below the discriminator's "
                f"{discriminator.resolution}"
            )
        if discriminator.config["architecture"] == "skip":
            raise ValueError(
                "architecture='skip' of the discriminator leaves no blocks to share; take resnet or orig"
            )
        self.resolution = resolution
        self.from_image = Conv2d(
            discriminator.img_channels, discriminator.channels[resolution], 1, activation="lrelu"
        )
        self.out = FullyConnected(discriminator.feature_dim, 1)
        # a bound method, so that the discriminator's parameters stay its own
        self._features_from = discriminator.features_from

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, resolution, resolution] -> logits [N]."""
        features = self._features_from(self.from_image(images), self.resolution)
        logits: Tensor = self.out(features).squeeze(1)
        return logits
