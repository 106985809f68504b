"""Small generators, and the contents of folders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_lt.models import Generator


@pytest.fixture
def make_generator() -> Callable[..., Generator]:
    """``make_generator(num_classes=0)``: a seeded 8x8 generator of the classes ant, bee and cow, changed."""

    def make(**changes: Any) -> Generator:
        torch.manual_seed(0)
        settings: dict[str, Any] = {
            "z_dim": 8,
            "num_classes": 3,
            "w_dim": 8,
            "resolution": 8,
            "img_channels": 1,
            "channel_max": 8,
            "mapping_layers": 2,
            "class_names": ["ant", "bee", "cow"],
            "class_counts": [40, 15, 5],
        }
        G = Generator(**{**settings, **changes}).eval()
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.data.fill_(0.2)
        return G

    return make


@pytest.fixture
def digests() -> Callable[[Path], dict[str, str]]:
    """``digests(folder)``: SHA-256 of every file below it, by relative path."""

    def of(folder: Path) -> dict[str, str]:
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return of
