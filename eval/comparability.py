"""Which figures of two evaluations measure the same, and what to say where they don't."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.extractors.base import NO_FEATURES
from eval.report import Report
from eval.summary import CLASS_MEASURES

_NEIGHBOURS = frozenset(
    {"precision", "recall", "density", "coverage"}
    | {mean for name, (_, mean) in CLASS_MEASURES.items() if name not in ("frechet", "kid")}
)
# measured between features of both sides: of other features, or against other images, they are other figures
_DISTANCES = _NEIGHBOURS | {"fid", "ifid", "kid", "intra_kid"}
# more or fewer images shift these by themselves; the kernel distance alone is unbiased
_BIASED = _DISTANCES - {"kid", "intra_kid"}
# in features, too, but for those of a classifier, where they are measured in pixels
_COPIES = frozenset({"memorization", "memorization_control"})
# what the classifier trained on the reference says
_JUDGED = frozenset(
    {"conditional_accuracy", "conditional_accuracy_real", "balance_kl", "balance_kl_requested"}
)


@dataclass(frozen=True)
class Comparability:
    """unlike: figures that don't measure the same on both sides and so have no difference; biased: those that depend
    on the numbers of images, so that none is marked better where those differ; warnings: sentences that say why.
    """

    unlike: frozenset[str]
    biased: frozenset[str]
    warnings: list[str]


def comparability(a: Report, b: Report, path_a: str | Path, path_b: str | Path) -> Comparability:
    """What of two evaluations can be compared."""
    unlike: frozenset[str] = frozenset()
    said = []
    for figures, warning in (
        (_of_features(a, b), _other_features(a, b)),
        (_DISTANCES | {"memorization_control"}, _other_reference(a, b)),
        (_JUDGED, _other_judge(a, b)),
        (_COPIES | {"conditional_accuracy_real"}, _other_training(a, b)),
        (_NEIGHBOURS, _other_setting(a, b, "k", "numbers of neighbours k")),
    ):
        if warning is not None:
            unlike |= figures
            said.append(warning)
    for key, what in (
        ("n_real", "numbers of real images"),
        ("n_fake", "numbers of generated images"),
        ("n_reference_per_class", "numbers of reference images a class"),
    ):
        warning = _other_setting(a, b, key, what)
        if warning is not None:
            said.append(warning)
    return Comparability(
        unlike, _BIASED, said + _other_classes(a, b, path_a, path_b) + _unmeasured(a, b, path_a, path_b)
    )


def _of_features(a: Report, b: Report) -> frozenset[str]:
    spaces = {None if report.memorization is None else report.memorization.get("space") for report in (a, b)}
    return _DISTANCES if spaces == {"pixels"} else _DISTANCES | _COPIES


def _other_features(a: Report, b: Report) -> str | None:
    names = [str(report.features["name"]) for report in (a, b)]
    if NO_FEATURES in names:
        return None
    if names[0] != names[1]:
        return f"The features differ ({names[0]} and {names[1]}): distances can't be compared."
    if a.features["weights_hash"] != b.features["weights_hash"]:
        return (
            f"Both use {names[0]} features, but of different weights (another reference, seed, machine or "
            "number of threads): distances can't be compared."
        )
    if a.features.get("settings") != b.features.get("settings"):
        return f"Both use {names[0]} features, but with different settings: distances can't be compared."
    return None


def _other_reference(a: Report, b: Report) -> str | None:
    names = [report.settings.get("real") for report in (a, b)]
    digests = [report.settings.get("reference_digest") for report in (a, b)]
    known = names if None in digests else digests
    if known[0] == known[1]:
        return None
    called = (
        f"({names[0]} and {names[1]})" if names[0] != names[1] else f"(both {names[0]}, with other images)"
    )
    return f"The references differ {called}: what is measured against them can't be compared."


def _other_judge(a: Report, b: Report) -> str | None:
    digests = [report.settings.get("judge_digest") for report in (a, b)]
    judges = [_judge(a), _judge(b)] if None in digests else digests
    if not all(_JUDGED & report.metrics.keys() for report in (a, b)) or judges[0] == judges[1]:
        return None
    return (
        "The classifiers that judged differ (another reference, seed, machine or number of threads): what they "
        "recognise can't be compared."
    )


def _judge(report: Report) -> Any:
    """What tells the judge from others where older reports have no digest of it: what it was trained on."""
    own = report.features["weights_hash"] if report.features["name"] == "classifier" else None
    return own, report.settings.get("real"), report.settings.get("seed")


def _other_training(a: Report, b: Report) -> str | None:
    digests = [report.settings.get("training_digest") for report in (a, b)]
    if None in digests or digests[0] == digests[1]:
        return None
    return "The training images differ: shares of memorized images can't be compared."


def _other_setting(a: Report, b: Report, key: str, what: str) -> str | None:
    values = [report.settings.get(key) for report in (a, b)]
    return None if values[0] == values[1] else f"The {what} differ ({values[0]} and {values[1]})."


def _other_classes(a: Report, b: Report, path_a: str | Path, path_b: str | Path) -> list[str]:
    names = [{row["name"] for row in report.per_class} for report in (a, b)]
    said = []
    for path, only in ((path_a, names[0] - names[1]), (path_b, names[1] - names[0])):
        if only:
            said.append(f"Only {path} has the classes {', '.join(sorted(only))}; means leave them out.")
    if said:
        said.append("Figures over all images have no difference: they are of different classes.")
    return said


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
