"""A run half-way, for what may then happen to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from gan_lt.config import TrainConfig
from gan_lt.data import ImageSet
from gan_lt.training import train


@pytest.fixture
def run(tmp_path: Path, make_config: Callable[..., TrainConfig], images: ImageSet) -> Path:
    """Three steps of six, one checkpoint."""
    folder = tmp_path / "run"
    folder.mkdir()
    train(
        make_config({"training": {"kimg": 0.024}}), images, folder, Console(quiet=True), torch.device("cpu")
    )
    return folder
