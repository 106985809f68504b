"""A training so small that a step takes milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gan_lt.config import TrainConfig, validate
from gan_lt.data import ImageSet

TINY: dict[str, Any] = {
    "generator": {"z_dim": 8, "w_dim": 8, "channel_base": 64, "channel_max": 8, "mapping_layers": 2},
    "discriminator": {"mbstd_group_size": 4, "mapping_layers": 1},
    "loss": {"r1_gamma": 0.1, "penalty_interval": 2},
    "training": {"batch": 8, "kimg": 0.048, "tick_kimg": 0.024, "checkpoint_ticks": 1},
}
# the same networks on a command line
TINY_NETWORKS = [
    *(f"generator.{name}={value}" for name, value in TINY["generator"].items()),
    "discriminator.mapping_layers=1",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first: with several workers none is left with them at the end, while the others have nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def make_config() -> Callable[..., TrainConfig]:
    """``make_config({"training": {"batch": 4}}, regularizers=["noisytwins"])``: the tiny setting, changed."""

    def make(changes: dict[str, dict[str, Any]] | None = None, **top: Any) -> TrainConfig:
        values = {section: dict(settings) for section, settings in TINY.items()}
        for section, settings in (changes or {}).items():
            values.setdefault(section, {}).update(settings)
        return validate({**values, **top})

    return make


@pytest.fixture
def images() -> ImageSet:
    """60 random 8x8 images of three classes, 40, 15 and 5."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 15, 5])
    return ImageSet.from_arrays(rng.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8), labels, ["a", "b", "c"])
