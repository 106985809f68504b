"""Typed, validated configuration: a preset, then options and dotted overrides, checked before anything is loaded."""

from gan_lt.config.method_sections import (
    CbganConfig,
    GsrConfig,
    LecamConfig,
    NoisyTwinsConfig,
    TransitionalConfig,
    UtloConfig,
)
from gan_lt.config.network_sections import (
    AdaConfig,
    AugmentConfig,
    DataConfig,
    DiscriminatorConfig,
    EmaConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
    SnganConfig,
)
from gan_lt.config.reading import (
    build_config,
    dump_yaml,
    preset_names,
    preset_values,
    read_yaml,
    validate,
)
from gan_lt.config.run_sections import MetricsConfig, TrainingConfig
from gan_lt.config.section import Section
from gan_lt.config.train_config import TrainConfig

__all__ = [
    "AdaConfig",
    "AugmentConfig",
    "CbganConfig",
    "DataConfig",
    "DiscriminatorConfig",
    "EmaConfig",
    "GeneratorConfig",
    "GsrConfig",
    "LecamConfig",
    "LossConfig",
    "MetricsConfig",
    "NoisyTwinsConfig",
    "OptimizerConfig",
    "Section",
    "SnganConfig",
    "TrainConfig",
    "TrainingConfig",
    "TransitionalConfig",
    "UtloConfig",
    "build_config",
    "dump_yaml",
    "preset_names",
    "preset_values",
    "read_yaml",
    "validate",
]
