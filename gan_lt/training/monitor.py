"""What a run writes down: stats.jsonl, TensorBoard, sample grids."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gan_lt.models import ImageGenerator
from gan_lt.sampling.grid import class_grid
from gan_lt.sampling.images import sample_images

_GRID_COLUMNS = 16
_GRID_ROWS = 20


class Averages:
    """Means of scalars over a tick, added up on the device so that no step waits for the host."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, prefix: str, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            key = f"{prefix}/{name}"
            value = value.detach()
            self._sums[key] = self._sums[key] + value if key in self._sums else value.clone()
            self._counts[key] += 1

    def take(self) -> dict[str, float]:
        """The means since the last call."""
        means = {key: float(total) / self._counts[key] for key, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        return means


class Monitor:
    """Writes a run's statistics and sample grids; a context manager that closes its files."""

    def __init__(self, run: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.run = run
        self._stats = open(run / "stats.jsonl", "a", encoding="utf-8")
        self._tensorboard = SummaryWriter(str(run))
        (run / "samples").mkdir(exist_ok=True)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stats.close()
        self._tensorboard.close()

    def log(self, images_seen: int, values: dict[str, float]) -> None:
        """One line in stats.jsonl and a point on every TensorBoard curve."""
        line = {"kimg": images_seen / 1000, "time": time.time(), **values}
        self._stats.write(json.dumps(line) + "\n")
        self._stats.flush()
        for name, value in values.items():
            self._tensorboard.add_scalar(name, value, images_seen)  # type: ignore[no-untyped-call]

    def sample_grid(self, generator: ImageGenerator, images_seen: int) -> None:
        """samples/kimg-NNNNNN.png: a row a class, the most common first, the same latents every time."""
        grid = sample_grid(generator)
        Image.fromarray(grid).save(self.run / "samples" / f"kimg-{images_seen // 1000:06d}.png")
        pixels = grid if grid.ndim == 3 else grid[:, :, None]
        self._tensorboard.add_image("samples", pixels, images_seen, dataformats="HWC")  # type: ignore[no-untyped-call]


def sample_grid(generator: ImageGenerator, columns: int = _GRID_COLUMNS) -> NDArray[np.uint8]:
    """[rows * H, columns * W(, 3)]: one row a class, rarest last; with many classes an even selection of them."""
    classes = np.arange(max(generator.num_classes, 1))
    if generator.class_counts is not None:
        classes = np.argsort(-np.asarray(generator.class_counts), kind="stable")
    if len(classes) > _GRID_ROWS:
        classes = classes[np.linspace(0, len(classes) - 1, _GRID_ROWS).round().astype(int)]
    if generator.num_classes == 0:
        classes = np.zeros(8, dtype=np.int64)
    labels = np.repeat(classes, columns)
    with torch.no_grad():
        images = sample_images(generator, labels, np.arange(len(labels)))
    return class_grid(images, columns)
