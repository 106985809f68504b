"""The report as one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eval.class_order import rarest_last
from eval.columns import Column, class_columns, format_value, headline, shown_value
from eval.comparison import Comparison
from eval.gallery import Gallery
from eval.plots import Bar, bar_chart
from eval.png import strip
from eval.utility import verdict

if TYPE_CHECKING:
    from eval.report import Report

_MOST_GRID_ROWS = 120  # classes with pictures: beyond, the page would be too heavy to open on a phone
_SHARES = ("precision", "recall", "coverage", "conditional_accuracy", "memorization")


@dataclass(frozen=True)
class Cell:
    """A table cell: what is shown, what it sorts by, and the interval below it."""

    text: str
    sort: str
    interval: str
    numeric: bool


def environment() -> Environment:
    """Templates with escaping on and undefined names refused."""
    return Environment(
        loader=PackageLoader("eval", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(report: Report) -> str:
    """The whole page; it loads nothing from anywhere."""
    columns = class_columns(report)
    order = _order(report)
    rows = [report.per_class[index] for index in order]
    text: str = (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            title=f"{report.settings['fake']} against {report.settings['real']}",
            headline=headline(report),
            columns=columns,
            rows=[[_cell(row, column) for column in columns] for row in rows],
            group_rows=[
                [_cell({"name": f"mean, {group}", **entry}, column) for column in columns]
                for group, entry in report.groups.items()
            ],
            charts=[_chart(report, rows, column) for column in columns if column.better],
            has_groups=bool(report.groups),
            grid=_grid(report, order),
            grid_left_out=max(0, len(order) - _MOST_GRID_ROWS) if report.gallery else 0,
            pairs=_pairs(report.gallery),
            settings=_settings(report),
            verdict=verdict(report.utility) if report.utility else "",
            utility_charts=_utility_charts(report, rows),
            style=_asset("style.css"),
            script=_asset("page.js"),
        )
    )
    return text


def render_comparison(comparison: Comparison) -> str:
    """Two evaluations side by side, as a page that loads nothing from anywhere."""
    text: str = (
        environment()
        .get_template("comparison.html.j2")
        .render(comparison=comparison, style=_asset("style.css"), script=_asset("page.js"))
    )
    return text


def _asset(name: str) -> Markup:
    """A style sheet or script of ours, put into the page as it is."""
    return Markup(resources.files("eval").joinpath("templates", name).read_text("utf-8"))  # noqa: S704


def _order(report: Report) -> list[int]:
    counts = [row["n_train"] for row in report.per_class]
    return rarest_last(None if None in counts else counts, len(counts))


def _cell(row: dict[str, Any], column: Column) -> Cell:
    value = shown_value(column.key, row.get(column.key))
    pair = row.get("intervals", {}).get(column.key)
    interval = ""
    if pair is not None:
        low, high = (format_value(shown_value(column.key, edge), column.digits) for edge in pair)
        interval = f"{low} – {high}"
    numeric = column.key not in ("name", "group")
    return Cell(format_value(value, column.digits), "" if value is None else str(value), interval, numeric)


def _chart(report: Report, rows: Sequence[dict[str, Any]], column: Column) -> dict[str, Any]:
    bars = []
    for row in rows:
        cell = _cell(row, column)
        pair = row.get("intervals", {}).get(column.key)
        shown = None if pair is None else (shown_value(column.key, pair[0]), shown_value(column.key, pair[1]))
        trained = "" if row["n_train"] is None else f", {row['n_train']:,} training images"
        noise = f" ({cell.interval})" if cell.interval else ""
        tooltip = f"{row['name']}: {column.title} {cell.text}{noise}{trained}"
        value = shown_value(column.key, row.get(column.key))
        bars.append(Bar(str(row["name"]), row["group"], value, shown, cell.text, tooltip))
    return {
        "title": column.title,
        "explanation": column.explanation,
        "better": column.better,
        "svg": bar_chart(column.title, bars, 1.0 if column.key in _SHARES else None),
    }


def _utility_charts(report: Report, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if report.utility is None:
        return []
    charts = []
    for arm in report.utility["arms"].values():
        recalls = arm["per_class"]
        bars = [
            Bar(
                str(row["name"]),
                row["group"],
                recalls[row["name"]],
                None,
                format_value(recalls[row["name"]], 3),
                f"{row['name']}: recall {recalls[row['name']]:.3f} trained on {arm['title']}",
            )
            for row in rows
            if row["name"] in recalls
        ]
        svg = bar_chart(f"Recall, trained on {arm['title']}", bars, 1.0)
        charts.append({"title": arm["title"], "explanation": "Recall by class on real images", "svg": svg})
    return charts


def _grid(report: Report, order: Sequence[int]) -> list[dict[str, Any]]:
    gallery = report.gallery
    if gallery is None:
        return []
    rows = []
    # the rare classes are what the page is about, so the common ones give way
    for index in order[-_MOST_GRID_ROWS:]:
        row = report.per_class[index]
        rows.append(
            {
                "name": row["name"],
                "group": row["group"],
                "n_train": row["n_train"],
                "real": _strip(gallery.real[index]),
                "fake": _strip(gallery.fake[index]),
            }
        )
    return rows


def _strip(images: npt.NDArray[np.uint8]) -> dict[str, Any] | None:
    if len(images) == 0:
        return None
    return {"source": Markup(strip(images)), "count": len(images)}  # noqa: S704 - base64 of our own


def _pairs(gallery: Gallery | None) -> list[dict[str, Any]]:
    if gallery is None:
        return []
    nearest = sorted(gallery.pairs, key=lambda pair: pair.ratio)[:24]
    return [
        {
            "name": pair.class_name,
            "fake": _strip(pair.fake[None]),
            "train": _strip(pair.train[None]),
            "ratio": f"{pair.ratio:.2f}",
            "copied": pair.ratio < 1,
        }
        for pair in nearest
    ]


def _settings(report: Report) -> list[tuple[str, str]]:
    features = report.features
    lines = [
        (
            "features",
            f"{features['name']}, {features['dim']} dimensions" if features["dim"] else features["name"],
        )
    ]
    if features["weights_hash"]:
        lines.append(("weights", f"sha256 {features['weights_hash']}"))
    for key, value in {**features["settings"], **report.settings}.items():
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
        lines.append((key.replace("_", " "), shown))
    return lines
