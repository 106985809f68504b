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
# figures measured between features: of other features they are other figures
_OF_FEATURES = frozenset({"fid"} | set(CLASS_MEASURES) | set(sum(CLASS_MEASURES.values(), ())))
# in features, too, but for those of a classifier, where they are measured in pixels
_OF_COPIES = frozenset({"memorization", "memorization_control"})


@dataclass(frozen=True)
class Pair:
    """A figure of both; difference: "-" where the two can't be compared; better: "a", "b", or "" where their
    intervals overlap, are unknown, or no end is good.
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
    unlike = _unlike_figures(a, b)
    same_classes = {row["name"] for row in a.per_class} == set(rows_b)
    both = [(row, rows_b[row["name"]]) for row in shared]
    whole = [
        (column, _whole_pair(column, a, b, both, same_classes, unlike))
        for column in metric_columns(a.distance_name)
        if column.key in a.metrics and column.key in b.metrics
    ]
    columns = [column for column in class_columns(a) if column.better and column in class_columns(b)]
    counts = [row["n_train"] for row in shared]
    order = rarest_last(None if None in counts else counts, len(shared))
    classes = []
    for index in order:
        row, other = shared[index], rows_b[shared[index]["name"]]
        pairs = [
            _pair(column, row, other, row["intervals"], other["intervals"])
            if column.key not in unlike
            else _two_figures(column, row, other)
            for column in columns
        ]
        classes.append((row, pairs))
    titles = (str(a.settings["fake"]), str(b.settings["fake"]))
    if titles[0] == titles[1]:
        titles = (str(path_a), str(path_b))
    return Comparison(a, b, titles, whole, columns, classes, _incomparable(a, b, path_a, path_b))


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
    console.print(table)
    by_class = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    by_class.add_column("class")
    by_class.add_column("train", justify="right")
    for column in comparison.columns:
        by_class.add_column(column.title, justify="right")
    for row, pairs in comparison.classes:
        cells = (Text(" / ").join(_marked(pair)) for pair in pairs)
        by_class.add_row(str(row["name"]), format_value(row["n_train"], 0), *cells)
    console.print(by_class)
    console.print(f"{first} / {second}; bold: better, with intervals that do not overlap")
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
    unlike: frozenset[str],
) -> Pair:
    """A figure over all classes, subtracted unless it is among ``unlike``.

    Means are taken over the classes that both sides have a value for.
    """
    if column.key in unlike:
        return _two_figures(column, a.metrics, b.metrics)
    name = _CLASS_MEANS.get(column.key)
    if name is None:
        if same_classes:
            return _pair(column, a.metrics, b.metrics, a.intervals, b.intervals)
        return _two_figures(column, a.metrics, b.metrics)
    known = [(first.get(name), second.get(name)) for first, second in both]
    if same_classes and all((first is None) == (second is None) for first, second in known):
        return _pair(column, a.metrics, b.metrics, a.intervals, b.intervals)
    common = [(first, second) for first, second in known if first is not None and second is not None]
    if not common:
        return _two_figures(column, a.metrics, b.metrics)
    means = [{column.key: sum(values) / len(values)} for values in zip(*common, strict=True)]
    return _pair(column, means[0], means[1], {}, {})


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
) -> Pair:
    a, b = (shown_value(column.key, values.get(column.key)) for values in (values_a, values_b))
    text_a, text_b = format_value(a, column.digits), format_value(b, column.digits)
    if a is None or b is None:
        return Pair(text_a, text_b, "-", "")
    better = ""
    first, second = intervals_a.get(column.key), intervals_b.get(column.key)
    if column.better and first and second and (first[1] < second[0] or second[1] < first[0]):
        better = "a" if (a < b) == (column.better == "low") else "b"
    return Pair(text_a, text_b, f"{b - a:+,.{column.digits}f}", better, b - a)


def _incomparable(a: Report, b: Report, path_a: str | Path, path_b: str | Path) -> list[str]:
    features = _feature_warning(a, b)
    said = [] if features is None else [features]
    for key, what in (
        ("real", "references"),
        ("n_real", "numbers of real images"),
        ("n_fake", "numbers of generated images"),
        ("n_reference_per_class", "numbers of reference images a class"),
        ("k", "numbers of neighbours k"),
    ):
        if a.settings.get(key) != b.settings.get(key):
            said.append(f"The {what} differ ({a.settings.get(key)} and {b.settings.get(key)}).")
    only_a = sorted({row["name"] for row in a.per_class} - {row["name"] for row in b.per_class})
    only_b = sorted({row["name"] for row in b.per_class} - {row["name"] for row in a.per_class})
    for path, only in ((path_a, only_a), (path_b, only_b)):
        if only:
            said.append(f"Only {path} has the classes {', '.join(only)}; means leave them out.")
    if only_a or only_b:
        said.append("Figures over all images have no difference: they are of different classes.")
    return said + _unmeasured(a, b, path_a, path_b)


def _unmeasured(a: Report, b: Report, path_a: str | Path, path_b: str | Path) -> list[str]:
    """Classes of both without a figure of their own on one side, as --allow-missing leaves them."""
    figures = {name for name, _ in CLASS_MEASURES.values()}
    rows_a, rows_b = ({row["name"]: row for row in report.per_class} for report in (a, b))
    said = []
    for path, own, other in ((path_a, rows_a, rows_b), (path_b, rows_b, rows_a)):
        lacking = [
            str(name)
            for name in own
            if name in other
            and any(own[name].get(key) is None and other[name].get(key) is not None for key in figures)
        ]
        if lacking:
            said.append(f"{path} lacks figures of {', '.join(lacking)}; means leave them out on both sides.")
    return said


def _unlike_figures(a: Report, b: Report) -> frozenset[str]:
    """Figures that are measured in other features on either side."""
    if _feature_warning(a, b) is None:
        return frozenset()
    spaces = {None if report.memorization is None else report.memorization.get("space") for report in (a, b)}
    return _OF_FEATURES if spaces == {"pixels"} else _OF_FEATURES | _OF_COPIES


def _feature_warning(a: Report, b: Report) -> str | None:
    names = [str(report.features["name"]) for report in (a, b)]
    if names[0] != names[1]:
        return f"The features differ ({names[0]} and {names[1]}): distances can't be compared."
    if a.features["weights_hash"] != b.features["weights_hash"]:
        return (
            f"Both use {names[0]} features, but of different weights (another reference or seed): "
            "distances can't be compared."
        )
    return None
