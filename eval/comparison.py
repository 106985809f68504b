"""Two evaluations side by side."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eval.class_order import rarest_last
from eval.columns import Column, class_columns, format_value, metric_columns, shown_value
from eval.comparability import Comparability, comparability
from eval.report import Report
from eval.summary import CLASS_MEASURES
from gan_lt.errors import InputError

# figures over all classes that are means of a figure of each class, which has this name
_CLASS_MEANS = {mean: name for name, mean in CLASS_MEASURES.values()} | {
    name: name
    for name in (
        "conditional_accuracy",
        "conditional_accuracy_real",
        "memorization",
        "memorization_control",
    )
}


@dataclass(frozen=True)
class Pair:
    """A figure of both; difference: "-" where the two can't be compared; better: "a", "b", or "" where their
    intervals overlap or are unknown, no end is good, or other numbers of images shift it.
    """

    a: str
    b: str
    difference: str
    better: str
    sort: float | None = None


@dataclass
class Comparison:
    """titles of both; rows over all (title, pair) and by class (name, group, n_train, pairs by column);
    warnings.
    """

    a: Report
    b: Report
    titles: tuple[str, str]
    whole: list[tuple[Column, Pair]]
    columns: list[Column]
    classes: list[tuple[dict[str, Any], list[Pair]]]
    warnings: list[str] = field(default_factory=list)


def compare(path_a: str | Path, path_b: str | Path) -> Comparison:
    """Compare two JSON files that evaluations wrote, class by class.

    Raises InputError if one can't be read, or if they have no class in common. Whatever makes the two
    incomparable (features, reference, numbers of images) is said in `warnings`.
    """
    a, b = Report.from_json(path_a), Report.from_json(path_b)
    rows_b = {row["name"]: row for row in b.per_class}
    shared = [row for row in a.per_class if row["name"] in rows_b]
    if not shared:
        raise InputError(
            f"{path_a} and {path_b} have no class in common; compare evaluations of the same classes"
        )
    found = comparability(a, b, path_a, path_b)
    same_classes = {row["name"] for row in a.per_class} == set(rows_b)
    both = [(row, rows_b[row["name"]]) for row in shared]
    distance = " / ".join(dict.fromkeys((a.distance_name, b.distance_name)))
    whole = [
        (column, _whole_pair(column, a, b, both, same_classes, found))
        for column in metric_columns(distance)
        if column.key in a.metrics and column.key in b.metrics
    ]
    keys = {column.key for column in class_columns(b, distance)}
    columns = [column for column in class_columns(a, distance) if column.better and column.key in keys]
    counts = [row["n_train"] for row in shared]
    order = rarest_last(None if None in counts else counts, len(shared))
    classes = [
        (both[index][0], [_class_pair(column, *both[index], found) for column in columns]) for index in order
    ]
    titles = (str(a.settings["fake"]), str(b.settings["fake"]))
    if titles[0] == titles[1]:
        titles = (str(path_a), str(path_b))
    return Comparison(a, b, titles, whole, columns, classes, found.warnings)


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print both tables and the warnings to standard output."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=200, file=console.file)
    first, second = comparison.titles
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("measure", first, second, "difference"):
        table.add_column(title, justify="left" if title == "measure" else "right")
    for column, pair in comparison.whole:
        table.add_row(column.title, *_marked(pair), pair.difference)
    console.print(table, markup=False)
    by_class = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    by_class.add_column("class")
    by_class.add_column("train", justify="right")
    for column in comparison.columns:
        by_class.add_column(column.title, justify="right")
    for row, pairs in comparison.classes:
        cells = (Text(" / ").join(_marked(pair)) for pair in pairs)
        by_class.add_row(str(row["name"]), format_value(row["n_train"], 0), *cells)
    console.print(by_class, markup=False)
    console.print(f"{first} / {second}; bold: better, with intervals that do not overlap", markup=False)
    for warning in comparison.warnings:
        console.print(Text(f"note: {warning}", style="yellow"))


def _marked(pair: Pair) -> tuple[Text, Text]:
    return (
        Text(pair.a, style="bold" if pair.better == "a" else ""),
        Text(pair.b, style="bold" if pair.better == "b" else ""),
    )


def _whole_pair(
    column: Column,
    a: Report,
    b: Report,
    both: list[tuple[dict[str, Any], dict[str, Any]]],
    same_classes: bool,
    found: Comparability,
) -> Pair:
    """A figure over all classes, subtracted where it measures the same on both sides.

    Means are taken over the classes that both sides have a value for.
    """
    if column.key in found.unlike:
        return _two_figures(column, a.metrics, b.metrics)
    name = _CLASS_MEANS.get(column.key)
    if name is None:
        if same_classes:
            even = all(a.settings.get(key) == b.settings.get(key) for key in ("n_real", "n_fake"))
            return _pair(
                column, a.metrics, b.metrics, a.intervals, b.intervals, even or column.key not in found.biased
            )
        return _two_figures(column, a.metrics, b.metrics)
    known = [(first.get(name), second.get(name)) for first, second in both]
    if same_classes and all((first is None) == (second is None) for first, second in known):
        even = all(_of_as_many(*rows) for rows in both)
        return _pair(
            column, a.metrics, b.metrics, a.intervals, b.intervals, even or column.key not in found.biased
        )
    common = [(first, second) for first, second in known if first is not None and second is not None]
    if not common:
        return _two_figures(column, a.metrics, b.metrics)
    means = [{column.key: sum(values) / len(values)} for values in zip(*common, strict=True)]
    return _pair(column, means[0], means[1], {}, {}, False)


def _class_pair(column: Column, row: dict[str, Any], other: dict[str, Any], found: Comparability) -> Pair:
    if column.key in found.unlike:
        return _two_figures(column, row, other)
    decided = _of_as_many(row, other) or column.key not in found.biased
    return _pair(column, row, other, row["intervals"], other["intervals"], decided)


def _of_as_many(row: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a class was measured with equally many images on both sides."""
    return all(row.get(key) == other.get(key) for key in ("n_reference", "n_fake"))


def _two_figures(column: Column, values_a: dict[str, Any], values_b: dict[str, Any]) -> Pair:
    """Both figures, and no difference: they don't measure the same."""
    texts = [
        format_value(shown_value(column.key, values.get(column.key)), column.digits)
        for values in (values_a, values_b)
    ]
    return Pair(texts[0], texts[1], "-", "")


def _pair(
    column: Column,
    values_a: dict[str, Any],
    values_b: dict[str, Any],
    intervals_a: dict[str, Any],
    intervals_b: dict[str, Any],
    decided: bool,
) -> Pair:
    """Both and their difference; which is better is said where the intervals tell, and alone decide it."""
    a, b = (shown_value(column.key, values.get(column.key)) for values in (values_a, values_b))
    text_a, text_b = format_value(a, column.digits), format_value(b, column.digits)
    if a is None or b is None:
        return Pair(text_a, text_b, "-", "")
    better = ""
    first, second = intervals_a.get(column.key), intervals_b.get(column.key)
    if decided and column.better and first and second and (first[1] < second[0] or second[1] < first[0]):
        better = "a" if (a < b) == (column.better == "low") else "b"
    return Pair(text_a, text_b, f"{b - a:+,.{column.digits}f}", better, b - a)
