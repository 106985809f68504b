"""What is trained: the images, the networks, their losses and optimisers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from gan_lt.augment.pipeline import named_transforms
from gan_lt.config.section import Section


class DataConfig(Section):
    """Where the training images come from and in which order they are shown."""

    path: str | None = Field(
        None, description="folder with a sub-folder a class, zip, shards, list, or a name"
    )
    root: str | None = Field(
        None, description="where cifar10 / cifar100 lie on disk; of a list, where its paths start"
    )
    resolution: int | None = Field(None, description="centre-crop and resize to this; none: the images' own")
    channels: Literal[1, 3] | None = Field(None, description="1 grey, 3 colour; none: as the images are")
    imbalance: float | None = Field(
        None, ge=1, description="thin a balanced set out to this ratio n_max / n_min"
    )
    profile: Literal["exp", "step"] = Field("exp", description="shape of the thinned-out set")
    thinning_seed: int = Field(0, ge=0, description="which images stay when thinning out")
    horizontal_flips: bool = Field(False, description="mirror every image with probability 1/2")
    sampler: Literal["natural", "balanced", "sqrt", "effective"] = Field(
        "natural", description="of real images"
    )
    sampler_beta: float = Field(0.999, ge=0, lt=1, description="of the effective sampler")
    skip_corrupt: bool = Field(False, description="leave unreadable images out, and list them")
    workers: int = Field(2, ge=0, description="processes that decode images too many to keep in memory")

    @field_validator("resolution")
    @classmethod
    def _power_of_two(cls, value: int | None) -> int | None:
        if value is not None and (value < 8 or value > 1024 or value & (value - 1)):
            raise ValueError("must be a power of two from 8 to 1024")
        return value


class GeneratorConfig(Section):
    """Size and form of the generator."""

    z_dim: int = Field(512, ge=1)
    w_dim: int = Field(512, ge=1)
    channel_base: int = Field(
        32768, ge=1, description="channels at resolution r: min(channel_base / r, channel_max)"
    )
    channel_max: int = Field(512, ge=1)
    mapping_layers: int = Field(8, ge=1)
    architecture: Literal["orig", "skip", "resnet"] = "skip"
    mapping_lr_multiplier: float = Field(
        0.01, gt=0, description="learning rate of the mapping layers, relative"
    )
    noise_inputs: bool = Field(True, description="false: no noise in the layers, all variety comes from z")
    conditional: bool = Field(True, description="false: neither network sees the class")
    conv_clamp: float | None = Field(
        None, gt=0, description="limit of every convolution's output; none: none"
    )
    w_avg_beta: float = Field(0.995, ge=0, lt=1, description="decay of the running mean of w")


class SnganConfig(Section):
    """Size of both networks of the sngan backbone; of `generator`, only z_dim and conditional act there."""

    channels: int = Field(64, ge=1, description="base width")


class DiscriminatorConfig(Section):
    """Form of the discriminator; its channels are the generator's unless given."""

    channel_base: int | None = Field(None, ge=1)
    channel_max: int | None = Field(None, ge=1)
    architecture: Literal["orig", "skip", "resnet"] = "resnet"
    mbstd_group_size: int | None = Field(
        4, ge=1, description="images in a minibatch-stddev group; none: the batch"
    )
    mapping_layers: int = Field(8, ge=0)
    conv_clamp: float | None = Field(
        None, gt=0, description="limit of every convolution's output; none: none"
    )
    mbstd_channels: Literal[0, 1] = Field(1, description="0: no minibatch-stddev layer")
    cmap_dim: int | None = Field(
        None, ge=1, description="size of the class projection; none: the channels at 4x4"
    )


class LossConfig(Section):
    """The adversarial loss and its penalties."""

    adversarial: Literal["logistic", "hinge", "rpgan"] = "logistic"
    r1_gamma: float = Field(10.0, ge=0, description="R1 on real images, weight gamma / 2; 0: none")
    r2_gamma: float = Field(0.0, ge=0, description="R2 on generated images, weight gamma / 2; 0: none")
    penalty_interval: int = Field(16, ge=1, description="steps between R1 and R2 penalties")
    path_length_weight: float = Field(0.0, ge=0, description="0: none")
    path_length_interval: int = Field(4, ge=1, description="steps between path-length penalties")


class AdaConfig(Section):
    """Adaptive discriminator augmentation, see docs/methods/ada.md."""

    transforms: tuple[str, ...] = Field(
        ("bgc",), description="groups (bgc) or single transforms (xflip, hue)"
    )
    p: float = Field(
        0.0, ge=0, le=1, description="probability of each transform at the start; for good with target null"
    )
    target: float | None = Field(0.6, gt=-1, lt=1, description="of E[sign D(real)]; null: p stays")
    speed_kimg: float = Field(
        500.0, gt=0, description="thousands of images in which p goes from 0 to 1 at most"
    )
    interval: int = Field(4, ge=1, description="steps between adjustments of p")

    @field_validator("transforms")
    @classmethod
    def _known_transforms(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        named_transforms(names)
        return names


class AugmentConfig(Section):
    """Augmentation of real and generated images alike."""

    name: Literal["none", "diffaugment", "ada"] = "diffaugment"
    policy: tuple[Literal["color", "translation", "cutout"], ...] = Field(
        ("color", "translation", "cutout"), description="of diffaugment"
    )
    ada: AdaConfig = AdaConfig()


class OptimizerConfig(Section):
    """Adam for both networks."""

    generator_lr: float = Field(0.0025, gt=0)
    discriminator_lr: float = Field(0.0025, gt=0)
    beta1: float = Field(0.0, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)


class EmaConfig(Section):
    """The running average of the generator's weights, which is what gets saved."""

    kimg: float = Field(10.0, gt=0, description="half-life in thousands of images")
    rampup: float | None = Field(
        0.05, gt=0, description="the half-life is at most this share of the images seen; none: fixed"
    )
