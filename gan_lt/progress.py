"""Progress bars in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class SpeedColumn(ProgressColumn):
    """Images a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("-- img/s" if speed is None else f"{speed:.0f} img/s")


class _KimgColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        total = 0.0 if task.total is None else task.total
        return Text(f"{task.completed / 1000:.1f}/{total / 1000:g} kimg")


def training_progress(console: Console) -> Progress:
    """A bar with kimg, img/s and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        _KimgColumn(),
        SpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        speed_estimate_period=60,
    )


def images_progress(console: Console) -> Progress:
    """A bar with images, images a second and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        SpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )
