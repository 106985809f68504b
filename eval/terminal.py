"""The report in a terminal: headline figures, and a row a class, rarest last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from eval.class_order import rarest_last
from eval.columns import Column, class_columns, format_value, headline, shown_value
from eval.utility import verdict

if TYPE_CHECKING:
    from eval.report import Report


def print_report(report: Report, console: Console | None = None) -> None:
    """Print headline, class table, groups, utility and warnings."""
    console = console or Console()
    if not console.is_terminal:
        # a file or a pipe has no width: cells there must not be cut
        console = Console(width=200, file=console.file)
    figures = headline(report)
    summary = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("measure", "value", "95 % interval"):
        summary.add_column(title, justify="left" if title == "measure" else "right")
    for entry in figures:
        summary.add_row(entry.title, entry.value, entry.interval)
    if figures:  # utility has a table of its own
        console.print(summary, markup=False)
        _print_class_table(report, console)
    if report.utility is not None:
        console.print(_utility_table(report.utility), markup=False)
        console.print(verdict(report.utility), markup=False)
    for warning in report.warnings:
        console.print(Text(f"note: {warning}", style="yellow"))


def _utility_table(utility: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("classifier trained on")
    for title in ("images", "balanced accuracy", "worst", "harmonic"):
        table.add_column(title, justify="right")
    for arm in utility["arms"].values():
        low, high = arm["intervals"]["balanced_accuracy"]
        table.add_row(
            arm["title"],
            f"{arm['n_train']:,}",
            f"{arm['balanced_accuracy']:.3f} ({low:.2f} to {high:.2f})",
            f"{arm['worst_recall']:.3f}",
            f"{arm['harmonic_recall']:.3f}",
        )
    return table


# what a narrow terminal leaves out, the first of them first; the page and the JSON hold everything
_LEFT_OUT_FIRST = (
    "density",
    "memorization_control",
    "kid",
    "n_real",
    "precision",
    "group",
    "n_fake",
    "memorization",
    "conditional_accuracy",
)


def _print_class_table(report: Report, console: Console) -> None:
    columns = class_columns(report)
    left_out: list[str] = []
    table = _class_table(report, columns)
    for key in _LEFT_OUT_FIRST:
        # measured as if there were room: a measure within the console's width never exceeds it
        needed = Measurement.get(console, console.options.update(max_width=1000, markup=False), table).minimum
        if needed + 4 <= console.width:  # the outer padding is not in the measure
            break
        left_out += [column.title for column in columns if column.key == key]
        columns = [column for column in columns if column.key != key]
        table = _class_table(report, columns)
    console.print(table, markup=False)
    if left_out:
        console.print(
            f"a wider terminal, the page and the JSON also show: {', '.join(left_out)}",
            style="dim",
            markup=False,
        )


def _class_table(report: Report, columns: list[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        side: Literal["left", "right"] = "left" if column.key in ("name", "group") else "right"
        table.add_column(column.title, justify=side, overflow="fold")
    counts = [row["n_train"] for row in report.per_class]
    order = rarest_last(None if None in counts else counts, len(counts))
    for index in order:
        row = report.per_class[index]
        table.add_row(
            *(format_value(shown_value(column.key, row.get(column.key)), column.digits) for column in columns)
        )
    rows: list[dict[str, Any]] = [{"name": f"mean {name}", **entry} for name, entry in report.groups.items()]
    if rows:
        table.add_section()
        for row in rows:
            table.add_row(
                *(
                    format_value(shown_value(column.key, row.get(column.key)), column.digits)
                    for column in columns
                )
            )
    return table
