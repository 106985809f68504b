"""From measured cells to a Markdown page: means and spreads over seeds, class by class, and what they prove."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.longtail_methods import METHODS, Method

RAREST = 3
COPIES = {"copies": False, "mixed pairs": True}  # rows that learn nothing: whether pairs are mixed
_MOST_CLASSES = 20  # in tables; of more, the JSON has them
BETTER_BY, WORSE_BY = 0.15, 0.05
CLASS_MEASURES = {
    "coverage_equal": "Coverage",
    "ifid": "Intra-class distance",
    "recall_equal": "Recall",
    "density_equal": "Density",
}


@dataclass(frozen=True)
class Cell:
    """One row's result for one seed: what was measured, or why there is nothing."""

    row: str
    seed: int
    result: dict[str, Any] | None = None
    error: str | None = None


Cells = Mapping[str, Sequence[Cell]]
Value = Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True)
class Column:
    """A column of the tables over all classes."""

    title: str
    digits: int
    value: Value


def by_count(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The class rows of a result, the class with the most training images first."""
    return sorted(result["per_class"], key=lambda row: -int(row["n_train"]))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _rare(key: str) -> Value:
    return lambda result: _mean(row.get(key) for row in by_count(result)[-RAREST:])


def _group(key: str, group: str) -> Value:
    return lambda result: _mean(row.get(key) for row in result["per_class"] if row["group"] == group)


def _classes(key: str) -> Value:
    return lambda result: _mean(row.get(key) for row in result["per_class"])


def _metric(key: str) -> Value:
    return lambda result: result["metrics"].get(key)


overall_distance, rare_distance, rare_coverage = _metric("fid"), _rare("ifid"), _rare("coverage_equal")

TABLES: dict[str, tuple[Column, ...]] = {
    "Distance (lower is better)": (
        Column("over all", 3, overall_distance),
        *(Column(f"intra, {group}", 3, _group("ifid", group)) for group in ("many", "medium", "few")),
        Column(f"intra, rarest {RAREST}", 3, rare_distance),
    ),
    "Variety (higher is better)": (
        Column("coverage", 3, _classes("coverage_equal")),
        Column(f"coverage, rarest {RAREST}", 3, rare_coverage),
        Column(f"by all images, rarest {RAREST}", 3, _rare("coverage")),
        Column("recall", 3, _classes("recall_equal")),
        Column(f"recall, rarest {RAREST}", 3, _rare("recall_equal")),
        Column("density", 3, _classes("density_equal")),
        Column(f"density, rarest {RAREST}", 3, _rare("density_equal")),
        Column("diversity", 3, _classes("diversity")),
        Column(f"diversity, rarest {RAREST}", 3, _rare("diversity")),
    ),
    "Labels, copies, w and cost": (
        Column("recognised", 3, _metric("conditional_accuracy")),
        Column(f"recognised, rarest {RAREST}", 3, _rare("conditional_accuracy")),
        Column("balance KL", 4, _metric("balance_kl")),
        Column("memorized", 3, _metric("memorization")),
        Column("w rank", 1, _classes("w_rank")),
        Column(f"w rank, rarest {RAREST}", 1, _rare("w_rank")),
        Column("minutes", 1, lambda result: result["seconds"] / 60 if "seconds" in result else None),
        Column("img/s", 0, lambda result: result.get("images_per_second")),
    ),
}
LEGEND = f"""Mean ± standard deviation over seeds (none with one seed). Distances are Fréchet distances on the features of a
small classifier fitted once on the reference; they compare rows of this page and nothing else, and are no FID. Intra-class
ones, coverage, recall and density (k = 5) are taken class by class. Coverage, recall and density compare equally many images of
both sides, the mean over disjoint parts of the larger side; "by all images" is coverage by all that were made. Many: over 100
training images, few: under 20, medium: between; rarest {RAREST}: the classes with the fewest. Diversity: mean pairwise
feature distance of a class's images over that of the reference; near 0 is collapse. Recognised: share that the same
classifier takes for the class asked for. Balance KL: of its verdicts to uniform. Memorized: share nearer to a training
image than those are to one another. w rank: effective rank of w within a class. Minutes: in training steps, with whatever
else ran on the machine. Methods without a sampler of their own have the preset's; at equal seed and sampler, the order of
the images is the same. `copies` and `mixed pairs` learn nothing: training images drawn with replacement, and convex
mixtures of two of a class."""


def results_of(cells: Sequence[Cell], seeds: Iterable[int] | None = None) -> list[dict[str, Any]]:
    """The results that are there, of the given seeds or all."""
    wanted = None if seeds is None else set(seeds)
    return [
        cell.result for cell in cells if cell.result is not None and (wanted is None or cell.seed in wanted)
    ]


def mean_spread(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard deviation (n - 1) of the known values; None where there are too few."""
    known = [value for value in values if value is not None]
    mean = float(np.mean(known)) if known else None
    return mean, float(np.std(known, ddof=1)) if len(known) > 1 else None


def figure(values: Iterable[float | None], digits: int) -> str:
    """'mean ± sd', 'mean' or a dash."""
    mean, spread = mean_spread(values)
    if mean is None:
        return "–"
    return f"{mean:.{digits}f}" if spread is None else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def markdown(cells: Cells, facts: Mapping[str, str]) -> str:
    """The page: facts (machine, budget, command), verdict, tables, failures."""
    lines = ["# Long-tail methods side by side", "", *(f"- {name}: {text}" for name, text in facts.items())]
    lines += ["", "## What it shows", "", *(f"- {sentence}" for sentence in verdict(cells)), ""]
    for title, columns in TABLES.items():
        lines += [f"## {title}", "", *_table(cells, columns), ""]
    lines += [LEGEND, ""]
    lines += _class_tables(cells)
    failures = [cell for row in cells.values() for cell in row if cell.error is not None]
    if failures:
        lines += ["## Failed cells", "", *(f"- {c.row}, seed {c.seed}: {c.error}" for c in failures), ""]
    return "\n".join(lines)


def _table(cells: Cells, columns: Sequence[Column]) -> list[str]:
    head = ["method", "seeds", *(column.title for column in columns)]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for name, row in cells.items():
        results = results_of(row)
        figures = [figure((column.value(result) for result in results), column.digits) for column in columns]
        lines.append(f"| {' | '.join([name, _seeds(row), *figures])} |")
    return lines


def _seeds(row: Sequence[Cell]) -> str:
    done, failed = sum(c.result is not None for c in row), sum(c.error is not None for c in row)
    return f"{done}, {failed} failed" if failed else str(done)


def _class_tables(cells: Cells) -> list[str]:
    first = next((result for row in cells.values() for result in results_of(row)), None)
    if first is None or len(first["per_class"]) > _MOST_CLASSES:
        return []
    classes = [(row["name"], row["n_train"]) for row in by_count(first)]
    lines = []
    for key, title in CLASS_MEASURES.items():
        head = ["method", *(f"{name} ({n})" for name, n in classes)]
        lines += [f"## {title} by class (training images)", ""]
        lines += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        for name, row in cells.items():
            figures = [figure(class_values(row, label, key), 2) for label, _ in classes]
            lines.append(f"| {' | '.join([name, *figures])} |")
        lines.append("")
    return lines


def class_values(row: Sequence[Cell], name: str, key: str) -> list[float | None]:
    """A measure of one class, seed by seed."""
    return [
        entry.get(key) for result in results_of(row) for entry in result["per_class"] if entry["name"] == name
    ]


def verdict(cells: Cells, methods: Mapping[str, Method] = METHODS) -> list[str]:
    """Whether noisytwins or all beats every baseline on the rarest classes: a sentence each, computed.

    In each of the three measures the method stands against the baseline that is best in it, over the seeds that all of
    them have. Baselines without any result are left out.
    """
    finished = [name for name, row in cells.items() if results_of(row)]
    baselines = [name for name in finished if name in methods and methods[name].is_baseline]
    candidates = [name for name in ("noisytwins", "all") if name in finished]
    if not baselines or not candidates:
        return ["Nothing to judge yet: it takes a finished baseline and noisytwins or all."]
    sentences = [_sentence(cells, name, baselines) for name in candidates]
    return [*sentences, *_against_copies(cells)]


def _against_copies(cells: Cells) -> list[str]:
    """Which networks cover the rarest classes better than what learns nothing, in a sentence a kind of copies."""
    covered = {name: _mean(map(rare_coverage, results_of(row))) for name, row in cells.items()}
    sentences = []
    for kind in COPIES:
        level = covered.get(kind)
        if level is None:
            continue
        known = {n: mean for n, mean in covered.items() if n not in COPIES and mean is not None}
        above = [f"{name} ({mean:.3f})" for name, mean in known.items() if mean > level]
        sentences.append(
            f"Better coverage of the rarest {RAREST} than {kind} ({level:.3f}): {', '.join(above) or 'none'}."
        )
    return sentences


def _sentence(cells: Cells, name: str, baselines: Sequence[str]) -> str:
    compared = [name, *baselines]
    seeds = set.intersection(*({c.seed for c in cells[row] if c.result is not None} for row in compared))
    if not seeds:
        return f"{name}: no seed is finished for it and for {', '.join(baselines)}."

    def means(value: Value) -> dict[str, float]:
        found = {row: _mean(map(value, results_of(cells[row], seeds))) for row in compared}
        return {row: mean for row, mean in found.items() if mean is not None}

    gains: list[float | None] = []
    parts = []
    for what, value, lower in (
        (f"intra-class distance over the rarest {RAREST}", rare_distance, True),
        (f"coverage over the rarest {RAREST}", rare_coverage, False),
        ("distance over all", overall_distance, True),
    ):
        known = means(value)
        rivals = {row: mean for row, mean in known.items() if row != name}
        if name not in known or not rivals:
            return f"{name}: {what} is not known, so nothing can be said."
        best = min(rivals, key=lambda row: rivals[row] if lower else -rivals[row])
        change = (known[name] - rivals[best]) / rivals[best] if rivals[best] else None
        gains.append(None if change is None else (-change if lower else change))
        shown = "not comparable to 0" if change is None else f"{change:+.1%}"
        parts.append(f"{what} {known[name]:.3f} against {rivals[best]:.3f} ({best}): {shown}")
    distance, coverage, overall = gains
    won = [
        distance is not None and distance >= BETTER_BY,
        coverage is not None and coverage >= BETTER_BY,
        overall is not None and overall >= -WORSE_BY,
    ]
    says = "beats the best baseline" if all(won) else "does not beat the best baseline"
    return (
        f"{name} {says} ({', '.join(baselines)}) by {BETTER_BY:.0%} on the rarest {RAREST} at no more than {WORSE_BY:.0%} "
        f"worse distance over all ({len(seeds)} seed{'s' if len(seeds) > 1 else ''}): {'; '.join(parts)}."
    )
