"""What a reader must know beside the numbers, in plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eval.extractors.base import NO_FEATURES
from eval.manifold import expected_coverage
from eval.report import Report

if TYPE_CHECKING:
    from eval.summary import Findings

_FEW_FOR_FID = 10_000  # below, the small-sample bias of FID is larger than most differences between methods
_FEW_FOR_CLASS = 500
_MANY_FAKES_A_REAL = 2  # equal distributions then cover 99.6% with k = 5


def cautions(found: Findings, report: Report) -> list[str]:
    """Sentences on bias, comparability, and whatever was left out."""
    return [
        *_comparability(report),
        *_images_compared(found),
        *_sample_sizes(found, report),
        *_left_out(found, report),
    ]


def _comparability(report: Report) -> list[str]:
    name = str(report.features["name"])
    if name in ("inception", NO_FEATURES):
        return []
    said = [
        f"Distances are on {name} features: they are not FID and can't be compared with published FID values."
    ]
    if name == "classifier":
        said.append(
            "The classifier was trained on this reference, so its distances compare generators "
            "against this reference "
            "and nothing else; real images it has not seen would not score 0 either."
        )
    return said


def _images_compared(found: Findings) -> list[str]:
    said = []
    real, fake = found.sides.real, found.sides.fake
    if real.resolution != fake.resolution:
        said.append(
            f"Real images are {real.resolution} pixels wide, generated ones {fake.resolution}: distances measure that, "
            "too. Bring all to one size with --resolution."
        )
    if found.overlap_unknown:
        said.append(
            "Reference and training images have other sizes or channels, so nobody can tell which are the same: 'real images "
            "recognised' may count images already seen, and memorization has no control. Bring all to one size with --resolution."
        )
    known = 0 if found.overlap is None else int(found.overlap[0].sum())
    if known:
        said.append(
            f"{known:,} of the {len(real):,} reference images are training images: distances favour a generator that "
            "copies them, and the controls are of the others alone. Give --real images held out from training."
        )
    return said


def _sample_sizes(found: Findings, report: Report) -> list[str]:
    said = []
    smaller = min(len(found.sides.real), len(found.sides.fake))
    if "fid" in report.metrics and smaller < _FEW_FOR_FID:
        said.append(
            f"The distance over all uses {smaller:,} images on the smaller side; with fewer than "
            f"{_FEW_FOR_FID:,} it "
            "is biased upward. Compare only values measured with the same numbers of images."
        )
    if found.reference_rows:
        sizes = {len(rows) for rows in found.reference_rows}
        counts = found.sides.real.counts
        if max(sizes) < _FEW_FOR_CLASS:
            shown = str(max(sizes)) if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
            said.append(
                f"Each class is compared with {shown} real images: per-class distances are biased "
                "upward by so few, "
                "equally for all classes if their numbers are equal."
            )
        if len(sizes) == 1 and counts.max() > max(sizes):
            said.append(
                f"The reference has {counts.min()} to {counts.max()} images a class; per-class measures use "
                f"{max(sizes)} of each, so that classes can be compared."
            )
        if len(sizes) > 1:
            said.append(
                "The reference is not balanced: per-class distances of classes with fewer images are "
                "biased upward more."
            )
        made = found.sides.fake.counts
        made = made[made > 0]
        if made.min() != made.max():
            said.append(
                f"There are {made.min()} to {made.max()} generated images a class: their per-class "
                "distances are biased "
                "by different amounts."
            )
    compared = [
        (row["n_fake"] / row["n_reference"], row)
        for row in report.per_class
        if row.get("coverage") is not None
    ]
    most, row = max(compared, key=lambda pair: pair[0], default=(0.0, {}))
    if most >= _MANY_FAKES_A_REAL:
        equal = expected_coverage(row["n_reference"], row["n_fake"], found.options.k)
        said.append(
            f"Up to {most:.3g} generated images stand beside a real one of their class: equal distributions would cover "
            f"{equal:.2%}, and coverage says little about differences. Compare it at equal numbers (--num-fake)."
        )
    if "kid" in found.whole and smaller < found.options.kid_subset_size:
        said.append(
            f"KID uses subsets of {smaller} images instead of {found.options.kid_subset_size}: the "
            "smaller side has no more."
        )
    return said


def _left_out(found: Findings, report: Report) -> list[str]:
    said = []
    sides = found.sides
    if sides.missing:
        said.append(
            f"No generated images of {', '.join(sides.missing)}: their recall and coverage are 0, "
            "and means of the other "
            "measures leave them out."
        )
    if sides.not_asked:
        said.append(
            f"No images of {', '.join(sides.not_asked)} were asked for (manifest.json), so the evaluation leaves "
            "it out on both sides; utility alone uses its real images."
        )
    if sides.fake.n_copied:
        said.append(
            f"{sides.fake.n_copied:,} copies of real images stand beside the made ones (manifest.json): they are "
            "left out, all measures are of the made ones."
        )
    if sides.extra:
        said.append(
            f"The reference has no images of {', '.join(sides.extra)}: the generated ones are left out."
        )
    measured = [row for row in report.per_class if row["n_fake"]]
    lacking = [row["name"] for row in measured if "precision" in row and row["precision"] is None]
    if lacking:
        said.append(
            f"Precision, recall, density and coverage need more than k = {found.options.k} images on "
            "both sides; not "
            f"measured for {', '.join(lacking)}."
        )
    if "balance_kl" in report.metrics and report.metrics["balance_kl_requested"] is None:
        said.append(
            "The classifier saw a class that nobody asked for, so the divergence from what was asked "
            "is infinite."
        )
    unseen = [row["name"] for row in measured if row.get("conditional_accuracy_real", 0) is None]
    if unseen:
        said.append(
            f"No real images of {', '.join(unseen)} but those of the reference: 'real images recognised' leaves them out."
        )
    if found.memorization is not None:
        unknown = [row["name"] for row in measured if row["memorization"] is None]
        if unknown:
            said.append(
                f"Memorization is not measured for {', '.join(unknown)}: fewer than 2 training images of it were given."
            )
    if found.utility is not None:
        top_up = found.utility["top_up"]
        if "synthetic" not in found.utility["arms"]:
            said.append(
                "The arm of synthetic images alone is left out: a class that was not asked for has none."
            )
        lacking = [f"{name} {entry['lacking']}" for name, entry in top_up.items() if entry["lacking"]]
        if lacking:
            said.append(
                f"Topping up to the largest class lacked synthetic images: {', '.join(lacking)}. "
                "Generate more."
            )
    return said
