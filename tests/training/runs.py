"""Runs and their states, as the tests of training look at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_lt.data import ImageSet
from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint


def said(tmp_path: Path) -> str:
    return (tmp_path / "console.txt").read_text()


def last_state(run: Path) -> dict[str, Any]:
    return load_checkpoint(list_checkpoints(run / "checkpoints")[-1])


def differences(a: Any, b: Any, name: str = "") -> list[str]:
    """Where two states differ in any bit."""
    if isinstance(a, Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [name]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [name]
        return [d for key in a for d in differences(a[key], b[key], f"{name}/{key}")]
    if isinstance(a, list):
        if len(a) != len(b):
            return [name]
        return [
            d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{name}/{i}")
        ]
    return [] if a == b else [name]


def at_resolution(images: ImageSet, resolution: int) -> ImageSet:
    """The same set with pixels repeated."""
    times = resolution // images.resolution
    pixels = images.images().repeat(times, axis=2).repeat(times, axis=3)
    return ImageSet.from_arrays(pixels, images.labels, images.class_names)


def kept(run: Path) -> dict[str, bytes]:
    """A run's checkpoints."""
    return {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}


def new_run(tmp_path: Path, name: str) -> Path:
    run = tmp_path / name
    run.mkdir()
    return run
