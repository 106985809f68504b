"""The recall table in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gan_lt.classifier.recall import RecallReport

WIDTH = 80
_BAR = 20
_ROWS = 40


def print_recall(
    report: RecallReport,
    class_names: Sequence[str],
    train_counts: Sequence[int],
    title: str,
    console: Console | None = None,
) -> None:
    """A row a class, rarest last, and the averages below, at most 80 columns wide."""
    console = Console(width=WIDTH) if console is None else console
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", max_width=28, no_wrap=True, overflow="ellipsis")
    for heading in ("trained on", "tested on", "recall"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=_BAR)
    order = sorted(range(len(class_names)), key=lambda k: -train_counts[k])
    hidden = max(0, len(order) - _ROWS)
    # of many classes the middle is left out: the tail is what one looks for
    shown = order if not hidden else order[: _ROWS // 2] + order[-(_ROWS // 2) :]
    for place, k in enumerate(shown):
        if hidden and place == _ROWS // 2:
            table.add_row(f"... {hidden:,} more", "", "", "", "")
        recall = report.per_class_recall[k]
        table.add_row(
            escape(class_names[k]),
            f"{train_counts[k]:,}",
            f"{report.per_class_images[k]:,}",
            "-" if recall is None else f"{recall:.1%}",
            "" if recall is None else "█" * round(_BAR * recall),
        )
    console.print(table)
    averages = Table.grid(padding=(0, 2))
    averages.add_column()
    averages.add_column(justify="right")
    for name, value in (
        ("accuracy", report.accuracy),
        ("balanced accuracy", report.balanced_accuracy),
        ("worst-class recall", report.worst_class_recall),
        ("harmonic mean of recalls", report.harmonic_mean),
    ):
        averages.add_row(name, f"{value:.1%}")
    console.print(averages)
