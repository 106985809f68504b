"""All sections together, and which values of several of them fit together."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator, model_validator

from gan_lt.config.method_sections import (
    CbganConfig,
    GsrConfig,
    LecamConfig,
    NoisyTwinsConfig,
    TransitionalConfig,
    UtloConfig,
)
from gan_lt.config.network_sections import (
    AugmentConfig,
    DataConfig,
    DiscriminatorConfig,
    EmaConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    SnganConfig,
)
from gan_lt.config.run_sections import MetricsConfig, TrainingConfig
from gan_lt.config.section import Section
from gan_lt.regularizers import REGULARIZERS


class TrainConfig(Section):
    """Everything a run needs; `config.yaml` in the run directory holds it."""

    preset: str = "custom"
    backbone: Literal["stylegan2", "sngan"] = "stylegan2"
    data: DataConfig = DataConfig()
    generator: GeneratorConfig = GeneratorConfig()
    sngan: SnganConfig = SnganConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    ema: EmaConfig = EmaConfig()
    regularizers: tuple[str, ...] = ()
    noisytwins: NoisyTwinsConfig = NoisyTwinsConfig()
    gsr: GsrConfig = GsrConfig()
    cbgan: CbganConfig = CbganConfig()
    lecam: LecamConfig = LecamConfig()
    utlo: UtloConfig = UtloConfig()
    transitional: TransitionalConfig = TransitionalConfig()
    training: TrainingConfig = TrainingConfig()
    metrics: MetricsConfig = MetricsConfig()

    @field_validator("regularizers")
    @classmethod
    def _known_regularizers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in REGULARIZERS:
                raise ValueError(f"{name!r} is not known; choose from {', '.join(REGULARIZERS)}")
            field = cls.model_fields.get(name)
            if field is None or not isinstance(field.default, Section):
                raise ValueError(
                    f"{name!r} is registered, but TrainConfig has no section for its settings; add a section {name} to "
                    "gan_lt/config (docs/architecture.md, Adding a method)"
                )
        if len(set(names)) != len(names):
            raise ValueError(f"{', '.join(names)} names one twice")
        return names

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if self.backbone == "sngan":
            self._check_sngan()
        group, per_round = self.discriminator.mbstd_group_size, self.training.round
        if (
            self.backbone == "stylegan2"
            and self.discriminator.mbstd_channels
            and group is not None
            and group < per_round
            and per_round % group
        ):
            raise ValueError(
                f"training.{'batch' if self.training.micro_batch is None else 'micro_batch'}={per_round} is not divisible "
                f"by discriminator.mbstd_group_size={group}"
            )
        if (
            self.augment.name == "ada"
            and self.augment.ada.target is not None
            and self.loss.adversarial == "rpgan"
        ):
            raise ValueError(
                f"augment.ada.target={self.augment.ada.target} watches the sign of D's logits, and rpgan, which compares logits "
                f"only, leaves them without a zero; fix p with augment.ada.target=null augment.ada.p=0.2, or take another loss"
            )
        if "cbgan" in self.regularizers and self.cbgan.classifier is None:
            raise ValueError(
                "cbgan.classifier is missing: train one with `gan-lt classifier train --data DATA --outdir DIR` and pass "
                "cbgan.classifier=DIR"
            )
        if "ifid" in self.metrics.names and not self.generator.conditional:
            raise ValueError("metrics.names: ifid needs classes, and generator.conditional=false makes none")
        if "gsr" in self.regularizers and not self.generator.conditional:
            raise ValueError(
                "regularizers: gsr acts on what the class acts through; it needs generator.conditional=true"
            )
        for name in ("utlo", "transitional"):
            if name in self.regularizers and not self.generator.conditional:
                raise ValueError(
                    f"regularizers: {name} is about classes; it needs generator.conditional=true"
                )
        if "utlo" in self.regularizers:
            self._check_low_resolutions()
        if "noisytwins" in self.regularizers:
            if not self.generator.conditional:
                raise ValueError(
                    "regularizers: noisytwins acts on the class embedding; it needs generator.conditional=true"
                )
            if per_round % 2:
                raise ValueError(f"training.batch={per_round} must be even: noisytwins makes pairs of it")
            if per_round < 4 and self.noisytwins.weight > 0:
                raise ValueError(
                    f"training.{'batch' if self.training.micro_batch is None else 'micro_batch'}={per_round} makes one pair; "
                    f"noisytwins needs two at least, so 4 images"
                )
        return self

    def _check_low_resolutions(self) -> None:
        if self.generator.architecture != "skip":
            raise ValueError(
                f"generator.architecture={self.generator.architecture} makes no image at low resolutions, which utlo needs; "
                f"take skip"
            )
        if self.discriminator.architecture == "skip":
            raise ValueError(
                "discriminator.architecture=skip leaves no blocks for utlo's head to share; take resnet or orig"
            )
        if self.data.resolution is not None and self.data.resolution <= self.utlo.resolution:
            raise ValueError(
                f"utlo.resolution={self.utlo.resolution} must be below data.resolution={self.data.resolution}"
            )

    def _check_sngan(self) -> None:
        missing = {
            "noisytwins": "a class embedding and w, and sngan has neither",
            "utlo": "an image and a w at every resolution, and sngan has neither",
            "transitional": "a class embedding, and sngan has none",
        }
        for name, what in missing.items():
            if name in self.regularizers:
                raise ValueError(
                    f"regularizers: {name} acts on {what}; leave it out, or take backbone=stylegan2"
                )
        unsuited = {
            "loss.path_length_weight": self.loss.path_length_weight,
            "training.style_mixing": self.training.style_mixing,
        }
        for name, value in unsuited.items():
            if value > 0:
                raise ValueError(
                    f"{name}={value} acts on w, and sngan has none; set it to 0, or take backbone=stylegan2"
                )
