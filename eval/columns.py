"""Which figures are shown, under which words, with how many digits: the same in the terminal and on the
page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.report import Report


@dataclass(frozen=True)
class Column:
    """A column of the class table; better: "low", "high" or "" where neither end is good."""

    key: str
    title: str
    digits: int
    better: str
    explanation: str


@dataclass(frozen=True)
class Headline:
    """A headline figure, formatted."""

    key: str
    title: str
    value: str
    interval: str
    better: str
    explanation: str


def class_columns(report: Report, distance: str | None = None) -> list[Column]:
    """The columns that this report has values for; `distance`: another name for its Fréchet distance."""
    distance = distance or report.distance_name
    columns = [
        Column("name", "class", 0, "", "Name of the class"),
        Column("group", "group", 0, "", "Many, medium or few training images"),
        Column("n_train", "train", 0, "", "Real images the generator was trained on"),
        Column("n_real", "real", 0, "", "Real images in the reference"),
        Column("n_fake", "fake", 0, "", "Generated images"),
        Column("ifid", f"intra {distance}", 2, "low", "Fréchet distance of the class's images to real ones"),
        Column(
            "kid",
            "KID x1000",
            2,
            "low",
            "Kernel distance within the class, times 1000; unbiased for few images",
        ),
        Column("precision", "precision", 3, "high", "Share of generated images among real ones"),
        Column("recall", "recall", 3, "high", "Share of real images among generated ones"),
        Column("density", "density", 3, "high", "How thickly real images surround generated ones"),
        Column("coverage", "coverage", 3, "high", "Share of real images with a generated one nearby"),
        Column(
            "conditional_accuracy",
            "recognised",
            3,
            "high",
            "Share that a classifier sees as the class asked for",
        ),
        Column(
            "memorization",
            "memorized",
            3,
            "low",
            "Share nearer to a training image than those are to one another",
        ),
        Column(
            "memorization_control", "real control", 3, "", "The same for real images the generator never saw"
        ),
    ]
    present = {key for row in report.per_class for key, value in row.items() if value is not None}
    return [column for column in columns if column.key in present]


def headline(report: Report) -> list[Headline]:
    """The figures over all classes that this report has, in reading order."""
    entries = []
    for column in metric_columns(report.distance_name):
        key, digits = column.key, column.digits
        if key in report.metrics:
            value = shown_value(key, report.metrics[key])
            pair = report.intervals.get(key)
            interval = ""
            if pair is not None:
                low, high = (format_value(shown_value(key, edge), digits) for edge in pair)
                interval = f"{low} to {high}"
            shown = format_value(value, digits)
            entries.append(Headline(key, column.title, shown, interval, column.better, column.explanation))
    return entries


def metric_columns(distance: str) -> list[Column]:
    """Every figure over all classes, in reading order; `distance` is what the Fréchet distance is called."""
    known = (
        ("fid", distance, 3, "low", "Fréchet distance between all generated and all real images"),
        ("ifid", f"intra-class {distance}, mean", 3, "low", "The distance class by class, averaged"),
        ("kid", "KID x1000", 3, "low", "Kernel distance, times 1000; unbiased for few images"),
        (
            "intra_kid",
            "intra-class KID x1000, mean",
            3,
            "low",
            "Kernel distance class by class, averaged, times 1000",
        ),
        ("precision", "precision", 3, "high", "Share of generated images that lie among real ones"),
        ("recall", "recall", 3, "high", "Share of real images that lie among generated ones"),
        ("density", "density", 3, "high", "How thickly real images surround generated ones"),
        ("coverage", "coverage", 3, "high", "Share of real images with a generated one nearby"),
        ("intra_recall", "recall within classes, mean", 3, "high", "Recall class by class, averaged"),
        ("intra_coverage", "coverage within classes, mean", 3, "high", "Coverage class by class, averaged"),
        (
            "conditional_accuracy",
            "recognised",
            3,
            "high",
            "Share seen as the class asked for, mean over classes",
        ),
        (
            "conditional_accuracy_real",
            "real images recognised",
            3,
            "",
            "The same for real images: the ceiling",
        ),
        ("balance_kl", "imbalance, KL to uniform", 4, "low", "How uneven the classes seen in the images are"),
        (
            "memorization",
            "memorized",
            3,
            "low",
            "Share nearer to a training image than those are to one another",
        ),
        ("memorization_control", "real control", 3, "", "The same for real images the generator never saw"),
    )
    return [Column(*entry) for entry in known]


def shown_value(key: str, value: Any) -> Any:
    """A value as it is shown: kernel distances times 1000, as papers print them."""
    return value * 1000 if value is not None and key in ("kid", "intra_kid") else value


def format_value(value: Any, digits: int) -> str:
    """Text of a table cell; a dash for no value. Large numbers get fewer digits: 1,234.5 and 1.23e+06."""
    if value is None:
        return "-"
    if isinstance(value, float):
        if abs(value) >= 1e5:
            return f"{value:.2e}"
        digits = min(digits, 1) if abs(value) >= 1000 else digits
        return f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
