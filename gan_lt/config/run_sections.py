"""How long a run trains, what it writes and what it measures on the way."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gan_lt.config.section import Section


class TrainingConfig(Section):
    """Length, batch and what is written when."""

    kimg: float = Field(1000.0, gt=0, description="thousands of real images shown")
    batch: int = Field(32, ge=2, description="images a step")
    micro_batch: int | None = Field(
        None, ge=2, description="images at once, gradients accumulate; none: the batch"
    )
    discriminator_steps: int = Field(1, ge=1, description="of the discriminator to one of the generator")
    seed: int = Field(0, ge=0)
    init_from: str | None = Field(
        None, description="networks to start from: .pkl, run or saved network; see docs/interop.md"
    )
    freeze_discriminator_layers: int = Field(
        0,
        ge=0,
        description="so many blocks of the discriminator, from the image on, stay as init_from has them",
    )
    generated_labels: Literal["uniform", "training"] = Field(
        "uniform", description="classes of generated images"
    )
    style_mixing: float = Field(0.0, ge=0, le=1, description="probability of mixing two styles")
    tick_kimg: float = Field(4.0, gt=0, description="between progress lines, statistics and sample grids")
    checkpoint_ticks: int = Field(10, ge=1, description="ticks between checkpoints")
    keep_checkpoints: int = Field(2, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of the image layers; auto: bf16 where the device is made for it, else fp32"
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; none: all cores")

    @model_validator(mode="after")
    def _divisible(self) -> TrainingConfig:
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ValueError(f"batch={self.batch} is not divisible by micro_batch={self.micro_batch}")
        return self

    @model_validator(mode="after")
    def _frozen_layers_are_trained(self) -> TrainingConfig:
        if self.freeze_discriminator_layers and self.init_from is None:
            raise ValueError(
                f"training.freeze_discriminator_layers={self.freeze_discriminator_layers} would freeze random weights; "
                f"it needs --init-from"
            )
        return self

    @property
    def round(self) -> int:
        """Images that go through the networks at once."""
        return self.micro_batch or self.batch


class MetricsConfig(Section):
    """What is measured while training, on the averaged generator; the best network is kept in best/."""

    names: tuple[Literal["fid", "ifid", "kid", "prdc"], ...] = Field((), description="none: nothing")
    ticks: int = Field(5, ge=1, description="ticks between measurements")
    real: str | None = Field(
        None,
        description="images to compare with; none: the held-out split of a named set, else those of training",
    )
    features: str = Field(
        "classifier", description="as for eval: classifier, inception, a TorchScript or ONNX file"
    )
    per_class: int = Field(50, ge=6, description="images sampled of every class")
    best: Literal["fid", "ifid", "kid", "precision", "recall", "density", "coverage"] | None = Field(
        None,
        description="by which the best network is chosen; none: ifid if measured, else the first of names",
    )

    @model_validator(mode="after")
    def _best_is_measured(self) -> MetricsConfig:
        if self.best is not None and self.best not in self.measured:
            raise ValueError(
                f"best={self.best} is not measured: metrics.names are {', '.join(self.names) or 'none'}"
            )
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        """The figures that `names` yield."""
        prdc = ("precision", "recall", "density", "coverage")
        return tuple(figure for name in self.names for figure in (prdc if name == "prdc" else (name,)))

    @property
    def deciding(self) -> str | None:
        """The figure that chooses the best network."""
        if self.best is not None or not self.names:
            return self.best
        return "ifid" if "ifid" in self.names else {"prdc": "coverage"}.get(self.names[0], self.names[0])
