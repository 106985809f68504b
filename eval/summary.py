"""From what was measured to the report's tables: metrics, rows a class, groups."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from eval.alignment import AlignedSources
from eval.estimate import Estimate, mean_of
from eval.intra_class import ClassEstimates
from eval.judging import JudgedBalance
from eval.measuring_copies import MeasuredCopies
from eval.report import Report
from gan_lt.data import shot_groups

if TYPE_CHECKING:
    from eval.evaluation import EvaluationOptions

GROUPS = ("many", "medium", "few")
# the measures of a class, and what their means over classes are called
CLASS_MEASURES = {
    "frechet": ("ifid", "ifid"),
    "kid": ("kid", "intra_kid"),
    "precision": ("precision", "intra_precision"),
    "recall": ("recall", "intra_recall"),
    "density": ("density", "intra_density"),
    "coverage": ("coverage", "intra_coverage"),
}


@dataclass
class Findings:
    """Everything measured, before it is laid out. overlap: which reference and which training images are the same.
    overlap_unknown: there are training images, and they can't be compared.
    """

    names: tuple[str, ...]
    sides: AlignedSources
    train_counts: list[int] | None
    options: EvaluationOptions
    dim: int | None = None
    whole: dict[str, Estimate] = field(default_factory=dict)
    by_class: list[ClassEstimates] = field(default_factory=list)
    reference_rows: list[npt.NDArray[np.int64]] = field(default_factory=list)
    balance: JudgedBalance | None = None
    memorization: MeasuredCopies | None = None
    overlap: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None = None
    overlap_unknown: bool = False
    utility: dict[str, Any] | None = None


def summarise(found: Findings, wanted: frozenset[str]) -> Report:
    """The report's tables; features, settings and warnings are the caller's to add."""
    report = Report({}, {}, [], {}, {}, {})
    for name, estimate in found.whole.items():
        _put(report.metrics, report.intervals, "fid" if name == "frechet" else name, estimate)
    everyone = list(range(len(found.names)))
    for measure, (_, mean_name) in CLASS_MEASURES.items():
        if any(measure in row for row in found.by_class):
            _put(report.metrics, report.intervals, mean_name, _class_mean(found, measure, everyone))
    if found.balance is not None:
        report.metrics["balance_kl"] = _finite(found.balance.fake.kl_uniform)
        report.metrics["balance_kl_requested"] = _finite(found.balance.fake.kl_requested)
        report.metrics["conditional_accuracy"] = _nanmean(found.balance.fake.per_class_accuracy)
        if found.balance.real is not None:
            # the ceiling of the figure above: over the classes that it is of
            asked = ~np.isnan(found.balance.fake.per_class_accuracy)
            report.metrics["conditional_accuracy_real"] = _nanmean(
                found.balance.real.per_class_accuracy[asked]
            )
    if found.memorization is not None:
        report.metrics["memorization"] = _known_mean(found.memorization.share)
        report.metrics["memorization_control"] = _known_mean(found.memorization.control)
        report.memorization = {"space": found.memorization.space}
    if found.utility is not None:
        report.utility = found.utility
    report.per_class = [_row(found, index) for index in everyone]
    report.groups = _groups(found, report.per_class)
    return report


def _row(found: Findings, index: int) -> dict[str, Any]:
    real, fake = found.sides.real, found.sides.fake
    counts = found.train_counts
    options = found.options
    row: dict[str, Any] = {
        "name": found.names[index],
        "group": shot_groups([counts[index]], options.many_over, options.few_under)[0] if counts else None,
        "n_train": counts[index] if counts else None,
        "n_real": len(real.of_class(index)),
        "n_fake": len(fake.of_class(index)),
    }
    intervals: dict[str, tuple[float, float]] = {}
    if found.by_class:
        row["n_reference"] = len(found.reference_rows[index])
        for measure, (name, _) in CLASS_MEASURES.items():
            if any(measure in other for other in found.by_class):
                _put(row, intervals, name, found.by_class[index].get(measure))
    if found.balance is not None:
        row["conditional_accuracy"] = _finite(float(found.balance.fake.per_class_accuracy[index]))
        row["predicted_share"] = float(found.balance.fake.predicted_share[index])
        if found.balance.real is not None:
            row["conditional_accuracy_real"] = _finite(float(found.balance.real.per_class_accuracy[index]))
    if found.memorization is not None:
        row["memorization"] = found.memorization.share[index]
        row["memorization_control"] = found.memorization.control[index]
    row["intervals"] = intervals
    return row


def _groups(found: Findings, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        members = [index for index, row in enumerate(rows) if row["group"] == group]
        if not members:
            continue
        entry: dict[str, Any] = {
            "classes": [found.names[index] for index in members],
            "num_classes": len(members),
        }
        intervals: dict[str, tuple[float, float]] = {}
        for measure, (name, _) in CLASS_MEASURES.items():
            if any(measure in row for row in found.by_class):
                _put(entry, intervals, name, _class_mean(found, measure, members))
        for name in ("conditional_accuracy", "memorization", "memorization_control"):
            if name in rows[0]:
                entry[name] = _known_mean([rows[index][name] for index in members])
        entry["intervals"] = intervals
        groups[group] = entry
    return groups


def _class_mean(found: Findings, measure: str, members: list[int]) -> Estimate | None:
    return mean_of([found.by_class[index].get(measure) for index in members])


def _put(
    values: dict[str, Any], intervals: dict[str, tuple[float, float]], name: str, estimate: Estimate | None
) -> None:
    values[name] = None if estimate is None else estimate.value
    if estimate is not None and estimate.interval is not None:
        intervals[name] = estimate.interval


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nanmean(values: npt.NDArray[np.float64]) -> float | None:
    return _known_mean([_finite(float(value)) for value in values])


def _known_mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
