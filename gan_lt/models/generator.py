"""The generator: mapping and synthesis network, with truncation and the names of its classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gan_lt.arguments import check_integer, check_number
from gan_lt.models.interface import GeneratorPass, ImageGenerator, check_class_facts
from gan_lt.models.mapping import MappingNetwork
from gan_lt.models.synthesis import ARCHITECTURES, SynthesisNetwork
from gan_lt.processes import draw_rows


class Generator(ImageGenerator):
    """StyleGAN2 generator, conditional on a class index.

    Args:
        z_dim: size of the latent z.
        num_classes: 0 for an unconditional network.
        w_dim: size of the intermediate latent w.
        resolution: of the images, a power of two, 4 to 1024.
        img_channels: 1 or 3.
        channel_base, channel_max: a layer at resolution r has min(channel_base / r, channel_max) channels.
        mapping_layers: fully connected layers of the mapping network.
        architecture: "skip", "resnet" or "orig".
        conv_clamp: limit of every convolution's output (for half precision), or None.
        w_avg_beta: decay of the running mean of w.
        noise_inputs: whether the synthesis layers add noise; without, all variety comes from z.
        mapping_lr_multiplier: learning rate of the mapping layers relative to the others.
        class_names: one for each class, in order; kept with the saved network.
        class_counts: training images of each class; kept with the saved network.
        unconditional_resolution: layers up to this size don't see the class (UTLO); 0: all see it.
        fading_classes: keep a factor on the class embedding, `set_class_scale` (Transitional-cGAN).

    Raises:
        ValueError: an impossible size, an unknown architecture, names or counts that don't match num_classes.

    Source: Karras et al., CVPR 2020; conditioning: Karras et al., NeurIPS 2020.

    >>> import torch
    >>> G = Generator(z_dim=8, num_classes=3, w_dim=8, resolution=8, img_channels=1, channel_max=8, mapping_layers=2)
    >>> G(torch.randn(2, 8), torch.tensor([0, 2])).shape
    torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        z_dim: int = 512,
        num_classes: int = 10,
        w_dim: int = 512,
        resolution: int = 32,
        img_channels: int = 3,
        channel_base: int = 32768,
        channel_max: int = 512,
        mapping_layers: int = 8,
        architecture: str = "skip",
        conv_clamp: float | None = None,
        w_avg_beta: float = 0.995,
        noise_inputs: bool = True,
        mapping_lr_multiplier: float = 0.01,
        class_names: Sequence[str] | None = None,
        class_counts: Sequence[int] | None = None,
        unconditional_resolution: int = 0,
        fading_classes: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(resolution, img_channels, num_classes, channel_base, channel_max, conv_clamp)
        for name, value in [("z_dim", z_dim), ("w_dim", w_dim), ("mapping_layers", mapping_layers)]:
            check_integer(value, name, 1)
        if not 0 < mapping_lr_multiplier < math.inf:
            raise ValueError(f"mapping_lr_multiplier={mapping_lr_multiplier} must be above 0 and finite")
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture={architecture!r} must be one of {', '.join(ARCHITECTURES)}")
        check_class_facts(num_classes, class_names, class_counts)
        unconditional = unconditional_resolution > 0
        if unconditional and (unconditional_resolution >= resolution or unconditional_resolution < 4):
            raise ValueError(
                f"unconditional_resolution={unconditional_resolution} must be 0, or from 4 to below resolution={resolution}"
            )
        if unconditional and (architecture != "skip" or num_classes == 0):
            raise ValueError(
                f"unconditional_resolution={unconditional_resolution} needs classes and architecture='skip', whose layers "
                f"make an image at every size; got num_classes={num_classes}, architecture={architecture!r}"
            )
        self.config = {
            "z_dim": z_dim,
            "num_classes": num_classes,
            "w_dim": w_dim,
            "resolution": resolution,
            "img_channels": img_channels,
            "channel_base": channel_base,
            "channel_max": channel_max,
            "mapping_layers": mapping_layers,
            "architecture": architecture,
            "conv_clamp": conv_clamp,
            "w_avg_beta": w_avg_beta,
            "noise_inputs": noise_inputs,
            "mapping_lr_multiplier": mapping_lr_multiplier,
            "class_names": None if class_names is None else [str(name) for name in class_names],
            "class_counts": None if class_counts is None else [int(n) for n in class_counts],
            "unconditional_resolution": unconditional_resolution,
            "fading_classes": fading_classes,
        }
        self.z_dim, self.w_dim, self.num_classes = z_dim, w_dim, num_classes
        self.resolution, self.img_channels = resolution, img_channels
        self.class_names = tuple(self.config["class_names"] or (str(k) for k in range(num_classes)))
        self.class_counts = None if class_counts is None else tuple(int(n) for n in class_counts)
        self.synthesis = SynthesisNetwork(
            w_dim,
            resolution,
            img_channels,
            channel_base,
            channel_max,
            architecture,
            conv_clamp,
            noise_inputs,
            apart_up_to=unconditional_resolution,
        )
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(
            z_dim,
            num_classes,
            w_dim,
            self.num_ws,
            mapping_layers,
            mapping_lr_multiplier,
            w_avg_beta,
            unconditional_ws=self.synthesis.num_ws_up_to(unconditional_resolution),
            fading_classes=fading_classes,
        )

    def conditioning_parameters(self) -> list[Tensor]:
        """The parameters through which the class acts, tensors [K, d] with gradient: the embedding before normalisation."""
        return [] if self.mapping.embed is None else [self.mapping.embed.table()]

    def set_class_scale(self, scale: float) -> None:
        """Multiply the normalised class embedding by `scale`, in [0, 1]; needs fading_classes."""
        if self.mapping.class_scale is None:
            raise ValueError(f"class scale {scale} needs a generator with fading_classes=True")
        self.mapping.class_scale.fill_(scale)

    def generate(
        self,
        z: Tensor,
        y: Tensor | None,
        embedding_noise: Tensor | None = None,
        style_mixing: float = 0.0,
        low_resolution: int | None = None,
    ) -> GeneratorPass:
        w = self.mapping.style(z, y, embedding_noise)
        ws = self.mapping.layer_styles(w, z)
        if style_mixing > 0:
            n, device = len(w), w.device
            other_z = draw_rows(lambda rows: torch.randn(rows, self.z_dim, device=device), n)
            other = self.mapping.layer_styles(self.mapping.style(other_z, y, embedding_noise), other_z)
            # an image without mixing has its cutoff behind the last layer
            cutoff = draw_rows(lambda rows: torch.randint(1, self.num_ws, [rows, 1, 1], device=device), n)
            mixed = draw_rows(lambda rows: torch.rand([rows, 1, 1], device=device), n) < style_mixing
            cutoff = torch.where(mixed, cutoff, self.num_ws)
            layer = torch.arange(self.num_ws, device=w.device)[None, :, None]
            ws = torch.where(layer < cutoff, ws, other)
        images, small = self.synthesis.images(ws, low_resolution=low_resolution)
        return GeneratorPass(images, w, ws, small)

    def track_centre(self, z: Tensor, y: Tensor | None, w: Tensor, embedding_noise: Tensor | None) -> None:
        # the centre of truncation is used in sampling, which never sees embedding noise
        clean = w if embedding_noise is None else self.mapping.style(z, y)
        self.mapping.track_w_avg(clean, z)

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
            y: int64 class indices [N]; ignored by an unconditional network.
            truncation_psi: 1 is the full distribution, towards 0 images near the mean.
            noise_mode: "random" (new noise each call), "const" (the same noise for all) or "none".
            truncation_cutoff: truncate the first so many layers only.

        Returns:
            [N, img_channels, resolution, resolution] float32, the range [-1, 1] up to over- and undershoot.
        """
        ws = self.mapping(z, y, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff)
        images: Tensor = self.synthesis(ws, noise_mode=noise_mode)
        return images


def check_sizes(
    resolution: int,
    img_channels: int,
    num_classes: int,
    channel_base: int,
    channel_max: int,
    conv_clamp: float | None,
) -> None:
    """ValueError with the offending value unless a network of these sizes can be built."""
    check_integer(resolution, "resolution", 1)
    if resolution < 4 or resolution > 1024 or resolution & (resolution - 1):
        raise ValueError(f"resolution={resolution} must be a power of two from 4 to 1024")
    check_integer(img_channels, "img_channels", 1)
    check_integer(num_classes, "num_classes", 0, " (0: unconditional)")
    check_integer(channel_base, "channel_base", 1)
    check_integer(channel_max, "channel_max", 1)
    if conv_clamp is not None:
        check_number(conv_clamp, "conv_clamp", otherwise=" above 0, or None")
        if conv_clamp <= 0:
            raise ValueError(f"conv_clamp={conv_clamp} must be above 0, or None")
