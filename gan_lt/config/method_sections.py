"""The settings of the long-tail methods, a section each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from gan_lt.config.section import Section


class NoisyTwinsConfig(Section):
    """NoisyTwins, see docs/methods/noisytwins.md."""

    weight: float = Field(0.01, ge=0, description="lambda; 0: noise alone")
    gamma: float = Field(0.05, ge=0, description="weight of the off-diagonal entries")
    sigma: float = Field(0.75, ge=0, description="mean standard deviation of the embedding noise")
    beta: float = Field(
        0.99, ge=0, lt=1, description="effective-number beta that spreads the noise over the classes"
    )
    start_step: int = Field(0, ge=0, description="first step in which it acts")


class GsrConfig(Section):
    """The group spectral regularizer, see docs/methods/gsr.md."""

    weight: float = Field(0.5, ge=0)
    beta: float = Field(
        0.999, ge=0, lt=1, description="effective-number beta that spreads the weight over the classes"
    )
    iterations: int = Field(4, ge=1, description="power iterations a step")


class CbganConfig(Section):
    """The class-balancing regularizer with a classifier in the loop, see docs/methods/cbgan.md."""

    classifier: str | None = Field(None, description="folder that `gan-lt classifier train` wrote")
    weight: float = Field(10.0, ge=0)
    decay: float = Field(
        0.5, ge=0, le=1, description="how much of the old counts a cycle keeps, or loses: see form"
    )
    form: Literal["convex", "decay"] = Field(
        "convex", description="how the counts of a cycle enter the statistics"
    )
    cycle: int = Field(2000, ge=1, description="generator steps between updates of the statistics")


class LecamConfig(Section):
    """LeCam regularization, see docs/methods/lecam.md."""

    weight: float = Field(0.01, ge=0)
    decay: float = Field(0.99, ge=0, lt=1, description="of the running means of the logits")


class UtloConfig(Section):
    """UTLO: low resolutions without classes, see docs/methods/utlo.md."""

    weight: float = Field(1.0, ge=0, description="of the unconditional loss")
    resolution: int = Field(8, description="layers up to this size don't see the class")

    @field_validator("resolution")
    @classmethod
    def _has_blocks(cls, value: int) -> int:
        if value < 8 or value > 512 or value & (value - 1):
            raise ValueError("must be a power of two from 8 to 512")
        return value


class TransitionalConfig(Section):
    """Transitional-cGAN: classes are faded in, see docs/methods/transitional.md."""

    weight: float = Field(1.0, ge=0, description="of the unconditional loss")
    start_step: int = Field(15625, ge=0, description="classes are faded in from here (2,000 kimg of 128)")
    end_step: int = Field(31250, ge=1, description="and act fully from here (4,000 kimg of 128)")
    remaining: float = Field(
        1.0, ge=0, le=1, description="share of the unconditional loss that stays after the transition"
    )

    @model_validator(mode="after")
    def _in_order(self) -> TransitionalConfig:
        if self.end_step <= self.start_step:
            raise ValueError(f"end_step={self.end_step} must come after start_step={self.start_step}")
        return self
