"""What the trainer and the samplers know of a network, whatever its backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from gan_lt.models.pretrained import Pretrained

NOISE_MODES = ("random", "const", "none")


class GeneratorPass(NamedTuple):
    """One pass of a generator in training.

    images: [N, C, H, W]. w: [N, w_dim], what the layers are steered by; a backbone without a mapping network gives z.
    ws: [N, num_ws, w_dim], w of every layer, on which the images depend. low_resolution: the image of the layers up to
    the size that was asked for, or None.
    """

    images: Tensor
    w: Tensor
    ws: Tensor
    low_resolution: Tensor | None = None


class ImageGenerator(Pretrained, nn.Module):
    """A generator: (z, class) -> images. `from_pretrained` builds whichever backbone a folder holds.

    Attributes:
        z_dim, w_dim: sizes of z and w. num_classes: 0 for an unconditional one. resolution, img_channels: of its images.
        class_names, class_counts: of its classes, in order; counts are training images, None where unknown.
    """

    z_dim: int
    w_dim: int
    num_classes: int
    resolution: int
    img_channels: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...] | None

    @classmethod
    def saved_forms(cls) -> dict[str, type[Any]]:
        from gan_lt.models.generator import Generator
        from gan_lt.models.sngan import SnganGenerator

        return {form.__name__: form for form in (Generator, SnganGenerator)}

    def forward(
        self,
        z: Tensor,
        y: Tensor | None = None,
        truncation_psi: float = 1.0,
        noise_mode: str = "random",
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """z [N, z_dim] standard normal, y int64 [N] -> images [N, C, H, W], as in sampling."""
        raise NotImplementedError

    def generate(
        self,
        z: Tensor,
        y: Tensor | None,
        embedding_noise: Tensor | None = None,
        style_mixing: float = 0.0,
        low_resolution: int | None = None,
    ) -> GeneratorPass:
        """A pass in training.

        Args:
            z: [N, z_dim]. y: int64 [N], None when unconditional.
            embedding_noise: [N, w_dim], added to the class embedding.
            style_mixing: probability that an image takes its last layers from a second w.
            low_resolution: also give the image of the layers up to this size.

        Raises:
            ValueError: something that this backbone does not have.
        """
        raise NotImplementedError

    def track_centre(self, z: Tensor, y: Tensor | None, w: Tensor, embedding_noise: Tensor | None) -> None:
        """Move the centre of truncation, where the backbone has one, by a pass of the discriminator's half."""

    def conditioning_parameters(self) -> list[Tensor]:
        """The parameters through which the class acts, tensors [K, d] with gradient."""
        raise NotImplementedError

    def card(self) -> str:
        """A model card with what the network itself knows: sizes, classes, counts."""
        from gan_lt.interop.model_card import render_card

        return render_card(self.config)

    @property
    def conditioning_layers(self) -> int:
        """Layers that these parameters belong to."""
        return len(self.conditioning_parameters())


class ImageDiscriminator(Pretrained, nn.Module):
    """A discriminator: (images, class) -> logits. `from_pretrained` builds whichever backbone a folder holds.

    Attributes:
        num_classes: 0 for an unconditional one. resolution, img_channels: of its images.
        feature_dim: size of the features that its logits are computed from.
    """

    num_classes: int
    resolution: int
    img_channels: int
    feature_dim: int

    @classmethod
    def saved_forms(cls) -> dict[str, type[Any]]:
        from gan_lt.models.discriminator import Discriminator
        from gan_lt.models.sngan_discriminator import SnganDiscriminator

        return {form.__name__: form for form in (Discriminator, SnganDiscriminator)}

    def judge(self, images: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images [N, C, H, W], y int64 [N] -> (logits [N], the features [N, feature_dim] they are computed from)."""
        raise NotImplementedError

    def forward(self, images: Tensor, y: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W] in [-1, 1], y int64 [N] (ignored when unconditional) -> logits [N], float32."""
        return self.judge(images, y)[0]


def check_class_facts(
    num_classes: int, class_names: Sequence[str] | None, class_counts: Sequence[int] | None
) -> None:
    """ValueError unless names and counts, where given, are one for each class."""
    for name, values in [("class_names", class_names), ("class_counts", class_counts)]:
        if values is not None and len(values) != num_classes and num_classes > 0:
            raise ValueError(f"{name} has {len(values)} entries for num_classes={num_classes}")
