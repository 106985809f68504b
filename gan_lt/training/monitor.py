"""What a run writes down: stats.jsonl, TensorBoard, sample grids."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gan_lt.errors import InputError
from gan_lt.models import ImageGenerator
from gan_lt.processes import mean_over_processes
from gan_lt.sampling.grid import class_grid
from gan_lt.sampling.images import sample_images
from gan_lt.training.failures import writing

_GRID_COLUMNS = 16
_GRID_ROWS = 20


class Averages:
    """Means of scalars over a tick, added up on the device so that no step waits for the host.

    A value that is not finite is left out of its mean and counted.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)
        self._not_finite: dict[str, Tensor] = {}

    def add(self, prefix: str, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            key = f"{prefix}/{name}"
            value = value.detach().float()
            finite = torch.isfinite(value)
            value, missing = torch.where(finite, value, 0.0), (~finite).float()
            self._sums[key] = self._sums[key] + value if key in self._sums else value
            self._not_finite[key] = self._not_finite[key] + missing if key in self._not_finite else missing
            self._counts[key] += 1

    def take(self) -> tuple[dict[str, float], dict[str, int]]:
        """Means since the last call over all processes, and how often each was not finite (where it ever was)."""
        if not self._sums:
            return {}, {}
        both = torch.stack([torch.stack([self._sums[key], self._not_finite[key]]) for key in self._sums])
        rows = dict(zip(self._sums, mean_over_processes(both).tolist(), strict=True))
        means = {
            key: total / (self._counts[key] - missing)
            for key, (total, missing) in rows.items()
            if missing < self._counts[key]
        }
        not_finite = {key: math.ceil(missing) for key, (_, missing) in rows.items() if missing}
        self._sums.clear()
        self._counts.clear()
        self._not_finite.clear()
        return means, not_finite


class Monitor:
    """Writes a run's statistics and sample grids; `close` it."""

    def __init__(self, run: Path, images_seen: int = 0) -> None:
        """images_seen: where training goes on. What was logged behind it, by a run that was killed, is dropped."""
        from torch.utils.tensorboard import SummaryWriter

        self.run = run
        _drop_lines_after(run / "stats.jsonl", images_seen)
        self._stats = open(run / "stats.jsonl", "a", encoding="utf-8")
        self._tensorboard = SummaryWriter(str(run), purge_step=images_seen + 1 if images_seen else None)
        (run / "samples").mkdir(exist_ok=True)

    def close(self) -> None:
        """Close the files."""
        try:
            self._stats.close()
        finally:
            self._tensorboard.close()

    @contextmanager
    def quiet_threads(self) -> Iterator[None]:
        """Silence TensorBoard's thread: what it can't write is raised again by its next call, in ours."""
        usual = threading.excepthook

        def hook(failed: threading.ExceptHookArgs) -> None:
            ours = type(failed.thread).__module__.startswith("tensorboard.")
            if not (ours and isinstance(failed.exc_value, OSError)):
                usual(failed)

        threading.excepthook = hook
        try:
            yield
        finally:
            threading.excepthook = usual

    def log(
        self,
        images_seen: int,
        values: dict[str, float],
        per_class: dict[str, dict[str, float]] | None = None,
    ) -> None:
        """One line in stats.jsonl and a point on every TensorBoard curve; figures by class go to the line alone.

        A figure that is not finite is left out. InputError for one that is no single number, by its name.
        """
        figures = {name: _figure(name, value) for name, value in values.items()}
        values = {
            name: value for name, value in figures.items() if math.isfinite(value)
        }  # JSON has no others
        line: dict[str, Any] = {"kimg": images_seen / 1000, "time": time.time(), **values}
        if per_class:
            line["per_class"] = per_class
        self._stats.write(json.dumps(line) + "\n")
        self._stats.flush()
        # before the checkpoint that follows: after a power loss a resumed run goes on behind this line
        os.fsync(self._stats.fileno())
        for name, value in values.items():
            self._tensorboard.add_scalar(name, value, images_seen)  # type: ignore[no-untyped-call]

    def sample_grid(self, generator: ImageGenerator, images_seen: int) -> None:
        """samples/kimg-NNNNNN.png: a row a class, the most common first, the same latents every time."""
        grid = sample_grid(generator)
        Image.fromarray(grid).save(self.run / "samples" / f"kimg-{images_seen // 1000:06d}.png")
        pixels = grid if grid.ndim == 3 else grid[:, :, None]
        self._tensorboard.add_image("samples", pixels, images_seen, dataformats="HWC")  # type: ignore[no-untyped-call]


def _figure(name: str, value: Any) -> float:
    """The number that a method gives for its log, also as a tensor or an array of one; InputError names it otherwise."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = value.item()
    if not isinstance(value, int | float):
        raise InputError(
            f"{name}: {repr(value)[:80]} can't be logged; the statistics of a method must be single numbers, by name"
        )
    return value


def _drop_lines_after(path: Path, images_seen: int) -> None:
    """Rewrite a stats.jsonl without torn lines and those of steps that will be made again."""
    if not path.is_file():
        return
    lines = path.read_text("utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if _kimg(line) * 1000 <= images_seen + 0.5]
    if kept != lines:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text("".join(kept), encoding="utf-8")
        os.replace(temporary, path)


def _kimg(line: str) -> float:
    try:
        return float(json.loads(line)["kimg"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf


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


@contextmanager
def open_monitor(run: Path, images_seen: int) -> Iterator[Monitor]:
    """A Monitor; what can't be written when it opens or closes its files is one line, too."""
    with writing(run):
        monitor = Monitor(run, images_seen)
    failed = True
    with monitor.quiet_threads():
        try:
            yield monitor
            failed = False
        finally:
            # what a full disk refuses once it refuses again on closing: the first error is the one to tell
            with suppress(OSError) if failed else writing(run):
                monitor.close()
