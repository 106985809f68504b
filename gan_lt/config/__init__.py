"""Typed, validated configuration: a preset, then options and dotted overrides, checked before anything is loaded."""

from gan_lt.config.network_sections import AugmentConfig, DataConfig
from gan_lt.config.reading import build_config, dump_yaml, preset_names, preset_values, read_yaml, validate
from gan_lt.config.run_sections import MetricsConfig
from gan_lt.config.train_config import TrainConfig

__all__ = [
    "AugmentConfig",
    "DataConfig",
    "MetricsConfig",
    "TrainConfig",
    "build_config",
    "dump_yaml",
    "preset_names",
    "preset_values",
    "read_yaml",
    "validate",
]
