"""What an image set is like: classes, imbalance, shot groups, sizes, and the preset that fits it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gan_lt.data.image_set import ImageSet
from gan_lt.data.long_tail import ShotGroup, shot_groups

_WIDTH = 80
_BAR = 28  # characters of the commonest class's bar
_ROWS = 40  # classes printed in full; of more, the commonest and rarest half as many each
_STYLES: dict[ShotGroup, str] = {"many": "green", "medium": "yellow", "few": "red"}


@dataclass(frozen=True)
class DatasetSummary:
    """Figures of an image set. ``counts``, ``class_names`` and ``groups`` are in the order of the labels.

    Attributes:
        ratio: images of the commonest class over those of the rarest.
        decoded_bytes: the whole set as uint8 pixels.
        skipped: ids of corrupt images that were left out.
        preset: the name of the preset to start from, and ``preset_reason`` why.
    """

    name: str
    num_images: int
    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    ratio: float
    groups: tuple[ShotGroup, ...]
    resolution: int
    channels: int
    decoded_bytes: int
    skipped: tuple[str, ...]
    preset: str
    preset_reason: str


def inspect(image_set: ImageSet) -> DatasetSummary:
    """Summarise an image set; decodes nothing."""
    counts = image_set.counts
    preset, reason = propose_preset(image_set.num_classes, image_set.resolution, image_set.channels)
    return DatasetSummary(
        name=image_set.name,
        num_images=len(image_set),
        class_names=image_set.class_names,
        counts=tuple(counts.tolist()),
        ratio=float(counts.max() / counts.min()) if counts.min() else float("inf"),
        groups=tuple(shot_groups(counts)),
        resolution=image_set.resolution,
        channels=image_set.channels,
        decoded_bytes=image_set.decoded_bytes,
        skipped=image_set.skipped,
        preset=preset,
        preset_reason=reason,
    )


def propose_preset(num_classes: int, resolution: int, channels: int) -> tuple[str, str]:
    """The preset whose published setting is nearest, and the reason in one sentence."""
    shape = f"{resolution}x{resolution} {'RGB' if channels == 3 else 'gray'} images in {num_classes} classes"
    if resolution <= 16 and channels == 1:
        return "digits-lt", f"{shape}: as small as the digits, which train in minutes on a CPU"
    if resolution == 32 and channels == 3:
        if num_classes <= 30:
            return "cifar10-lt", f"{shape}: CIFAR-10's size and about its number of classes"
        return "cifar100-lt", f"{shape}: CIFAR-100's size, and many classes"
    if resolution == 64 and channels == 3 and num_classes >= 100:
        if num_classes > 1000:
            return "inat2019-64", f"{shape}: iNaturalist-2019's size and more classes than ImageNet's 1,000"
        return "imagenet-lt-64", f"{shape}: ImageNet-LT's size, and hundreds of classes"
    return "custom", f"{shape}: no published setting is near, so start from the general one"


def print_summary(summary: DatasetSummary, console: Console | None = None) -> None:
    """Print a summary, 80 columns wide: a row a class, commonest first, then the figures and the preset."""
    console = console or Console(width=_WIDTH, highlight=False)
    size = f"{summary.resolution}x{summary.resolution} {'RGB' if summary.channels == 3 else 'gray'}"
    console.print(
        f"[bold]{escape(summary.name)}[/]: {summary.num_images:,} images, "
        f"{len(summary.counts):,} classes, {size}, {_bytes(summary.decoded_bytes)} decoded"
    )
    console.print(_histogram(summary))
    commonest, rarest = int(np.argmax(summary.counts)), int(np.argmin(summary.counts))
    facts = Table.grid(padding=(0, 2))
    most, least = summary.counts[commonest], summary.counts[rarest]
    extremes = f"{escape(summary.class_names[commonest])} has {most:,}, {escape(summary.class_names[rarest])} {least:,}"
    if most == least:
        extremes = f"every class has {most:,}"
    facts.add_row("imbalance ratio", f"{summary.ratio:.4g}: {extremes}")
    facts.add_row("shot groups", ", ".join(_group_sizes(summary)))
    if summary.ratio == 1:
        facts.add_row("balanced", "thin it out with --imbalance R to study a long tail")
    if summary.skipped:
        facts.add_row("[red]left out[/]", f"{len(summary.skipped):,} corrupt images")
        for name in summary.skipped:
            facts.add_row("", escape(name))
    facts.add_row("preset", f"[bold]--preset {summary.preset}[/]")
    facts.add_row("", summary.preset_reason)
    console.print(facts)


def _histogram(summary: DatasetSummary) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("class", max_width=28, no_wrap=True, overflow="ellipsis")
    table.add_column("images", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=_BAR)
    table.add_column("shots", no_wrap=True)
    most = max(summary.counts)
    for label in _shown_labels(summary):
        if label is None:
            table.add_row(f"... {len(summary.counts) - _ROWS:,} more", "", "", "")
            continue
        count, group = summary.counts[label], summary.groups[label]
        # A class of one image in a set of thousands still shows.
        bar = "█" * max(1, round(_BAR * count / most)) if count else ""
        style = _STYLES[group]
        table.add_row(escape(summary.class_names[label]), f"{count:,}", f"[{style}]{bar}[/]", group)
    return table


def _shown_labels(summary: DatasetSummary) -> Iterator[int | None]:
    """Labels by falling count; None for a gap."""
    order = np.argsort(-np.asarray(summary.counts), kind="stable").tolist()
    if len(order) <= _ROWS:
        yield from order
        return
    yield from order[: _ROWS // 2]
    yield None
    yield from order[-(_ROWS // 2) :]


def _group_sizes(summary: DatasetSummary) -> Iterator[str]:
    meanings: dict[ShotGroup, str] = {"many": "over 100", "medium": "20 to 100", "few": "under 20"}
    for group, meaning in meanings.items():
        labels = [label for label, its_group in enumerate(summary.groups) if its_group == group]
        yield f"{group} ({meaning}): {len(labels):,}"


def _bytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
