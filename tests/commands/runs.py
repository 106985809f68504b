"""A training of a few steps by command, its images, and what a folder holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import TINY_NETWORKS

TINY = [
    "--batch=8",
    "--kimg=0.032",
    *TINY_NETWORKS,
    "training.tick_kimg=0.016",
    "training.checkpoint_ticks=1",
]
Refused = Callable[[Callable[..., int], list[Any]], str]


def write_images(folder: Path, counts: dict[str, int], size: tuple[int, int] = (8, 8)) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, size[::-1], dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }
