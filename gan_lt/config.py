"""Typed, validated configuration: a preset, then options and dotted overrides, checked before anything is loaded."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gan_lt.augment.pipeline import named_transforms
from gan_lt.errors import InputError
from gan_lt.regularizers import REGULARIZERS


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values are fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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


def preset_names() -> list[str]:
    """The presets that ship, by name."""
    folder = resources.files("gan_lt") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def preset_values(name: str) -> dict[str, Any]:
    """What a preset sets, as nested dictionaries. `name` is one of `preset_names` or a path to a .yaml file.

    Raises:
        InputError: no such preset or file, or not YAML.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return {**read_yaml(path), "preset": path.stem}
    names = preset_names()
    if name not in names:
        raise InputError(
            f"--preset: {name!r} is not known{_suggestion(name, names)}; choose from {', '.join(names)} or a .yaml file"
        )
    text = (resources.files("gan_lt") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return {**yaml.safe_load(text), "preset": name}


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; InputError otherwise."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        # ValueError: not UTF-8, or a date that there is not
        raise InputError(f"{path}: can't be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold sections such as 'training:', found {type(values).__name__}")
    return values


def build_config(preset: str, options: Mapping[str, Any], overrides: Sequence[str] = ()) -> TrainConfig:
    """A preset, with options given by dotted name, then `dotted.name=value` overrides (values in YAML).

    Raises:
        InputError: an unknown key (with the nearest known one) or an impossible value, by name.

    >>> build_config("digits-lt", {"training.seed": 3}, ["loss.r1_gamma=0.5"]).loss.r1_gamma
    0.5
    """
    values = preset_values(preset)
    for name, value in options.items():
        _set(values, name, value)
    for text in overrides:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"{text!r} is not an override; write dotted.name=value, as in training.batch=64")
        try:
            parsed = yaml.safe_load(value)
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            raise InputError(
                f"{name}={value}: the value is not YAML ({' '.join(str(error).split())})"
            ) from error
        if isinstance(parsed, str):
            parsed = _number(parsed)
        _set(values, name, parsed)
    return validate(values)


def validate(values: Mapping[str, Any], where: str = "") -> TrainConfig:
    """A checked configuration from nested dictionaries; InputError names the first wrong key and its value."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(where + _first_problem(error)) from None


def dump_yaml(config: TrainConfig) -> str:
    """The configuration as YAML that `read_yaml` and `validate` take back unchanged."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _number(text: str) -> str | float:
    """YAML 1.1 reads 1e-4 as text; people mean a number."""
    try:
        return float(text)
    except ValueError:
        return text


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    keys = dotted.split(".")
    node = values
    for depth, key in enumerate(keys[:-1]):
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            raise InputError(f"{dotted}: {'.'.join(keys[: depth + 1])} is a value, not a section")
        node = child
    if isinstance(node.get(keys[-1]), dict) and not isinstance(value, dict):
        raise InputError(
            f"{dotted}={value}: {dotted} is a section; set one of its keys, as in {dotted}.{next(iter(node[keys[-1]]))}=..."
        )
    if keys[-1] in ("regularizers", "policy", "names", "transforms") and isinstance(value, str):
        value = [item for item in value.split(",") if item]
    node[keys[-1]] = value


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        siblings = _fields_at(problem["loc"][:-1])
        return f"{name}: unknown setting{_suggestion(str(problem['loc'][-1]), siblings)}; known here: {', '.join(siblings)}"
    message = problem["msg"].removeprefix("Value error, ")
    if not name or (problem["type"] == "value_error" and isinstance(problem["input"], dict)):
        return message
    message = message[:1].lower() + message[1:]
    value = problem["input"]
    # a few lines of YAML can stand for more than fits in memory, when every list names the one before ten times
    shown = value if isinstance(value, str | int | float) else reprlib.repr(value)
    return f"{name}={shown}: {message}"


def _fields_at(location: Sequence[int | str]) -> list[str]:
    model: type[BaseModel] = TrainConfig
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _suggestion(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


__all__ = [
    "TrainConfig",
    "build_config",
    "dump_yaml",
    "preset_names",
    "preset_values",
    "read_yaml",
    "validate",
]
