"""Utility: does the synthetic data help a classifier, and does it beat plain augmentation? Four arms, one
test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from eval.arm_training import ArmPlan, ArmTraining, crops_and_flips
from eval.cache import FeatureCache
from eval.estimate import LEVEL
from eval.extractors.classifier import MAX_RESOLUTION, read_resized
from eval.feature_matrix import FloatArray
from eval.kernel import multiplicities
from eval.progress import Progress
from eval.sources import ImageSource
from gan_lt.errors import InputError

ARMS = {
    "real": "real, as it is",
    "augmented": "real, augmented, balanced sampling",
    "topped_up": "real topped up with synthetic",
    "synthetic": "synthetic alone",
}
MEASURES = ("balanced_accuracy", "worst_recall", "harmonic_recall")


@dataclass(frozen=True)
class UtilitySettings:
    """seeds: trainings an arm. images_seen: by each training, equal for all arms (None: from the size of the
    set).

    flips: whether the augmented arm mirrors images (None: colour images yes, gray ones no, since those are
    mostly characters and scans, of which a mirrored one is another thing).
    """

    seeds: int = 3
    images_seen: int | None = None
    flips: bool | None = None
    replicates: int = 1000


def utility_study(
    train: ImageSource,
    fake: ImageSource,
    test: ImageSource,
    settings: UtilitySettings | None = None,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    training_seeds: Sequence[int] | None = None,
    cache: FeatureCache | None = None,
    warnings: list[str] | None = None,
) -> dict[str, Any]:
    """Train one classifier on (a) real training images, (b) the same augmented and sampled class-balanced,
    (c) real topped up with synthetic images to the size of the largest class, (d) synthetic ones alone; test
    on real ones.

    train, fake, test: sources with the same classes. Every arm sees equally many images in training, and
    seeds are shared between arms: training_seeds, or settings.seeds of them from `seed` on. With a cache, what
    each trained classifier said of the test images is kept there, by arm and seed, so a study that was
    interrupted goes on where it stopped; `warnings` gets a sentence for every corrupt file.

    Returns, JSON-ready: arms (title, n_train, epochs, balanced_accuracy, worst_recall, harmonic_recall,
    per_class, intervals, per_seed), differences of the arms to (b) with intervals, top_up (synthetic images
    used and lacking a class) and the settings. Where the largest class is one that nobody asked synthetic images
    of (a set made to top up), there is no arm (d).

    Raises InputError if a class has no training image or no synthetic one, or for no or repeated seeds.
    """
    settings = settings or UtilitySettings()
    if settings.seeds < 1:
        raise InputError(f"seeds is {settings.seeds}; the utility study needs at least 1")
    seeds = [seed + repeat for repeat in range(settings.seeds)] if training_seeds is None else training_seeds
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"training seeds are {list(seeds)}; give different ones, 0 or more")
    names = test.class_names or tuple(map(str, range(test.num_classes)))
    counts, made = (np.bincount(source.labels, minlength=len(names)) for source in (train, fake))
    for name, n_train, n_made in zip(names, counts.tolist(), made.tolist(), strict=True):
        spared = name in fake.not_asked and n_train == counts.max()
        if n_train == 0 or (n_made == 0 and not spared):
            raise InputError(
                f"class {name!r} has {n_train} training and {n_made} synthetic images; utility needs "
                "some of both"
            )
    flips = train.channels == 3 if settings.flips is None else settings.flips
    resolution = min(test.resolution, MAX_RESOLUTION)
    real_images, fake_images = read_resized(train, resolution), read_resized(fake, resolution)
    used = [fake.of_class(k)[: counts.max() - counts[k]] for k in range(len(names))]
    alone = np.concatenate([fake.of_class(k)[: counts.max()] for k in range(len(names))])
    added = np.concatenate(used)
    augment = crops_and_flips(flips)
    plans = {
        "real": ArmPlan(real_images, train.labels),
        "augmented": ArmPlan(real_images, train.labels, augment, balanced=True),
        "topped_up": ArmPlan(
            torch.cat([real_images, fake_images[added]]), np.concatenate([train.labels, fake.labels[added]])
        ),
    }
    if made.all():
        plans["synthetic"] = ArmPlan(fake_images[alone], fake.labels[alone])
    seen = settings.images_seen or int(np.clip(60 * counts.sum(), 20_000, 200_000))
    correct: dict[str, npt.NDArray[np.bool_]] = {}
    with (progress or Progress(False)).task("utility trainings", len(plans) * len(seeds)) as advance:
        for arm, plan in plans.items():
            outcomes = []
            for training_seed in seeds:
                training = ArmTraining(plan, len(names), training_seed, seen, device, flips)
                predicted = training.predictions(test, resolution, cache, warnings)
                outcomes.append(predicted == test.labels)
                advance(1)
            correct[arm] = np.stack(outcomes)
    report = _study(correct, test.labels, names, settings.replicates, seed)
    for arm, plan in plans.items():
        report["arms"][arm]["n_train"] = len(plan.labels)
        report["arms"][arm]["epochs"] = round(seen / len(plan.labels), 2)
    report["top_up"] = {
        name: {"used": len(rows), "lacking": int(counts.max() - counts[k] - len(rows))}
        for k, (name, rows) in enumerate(zip(names, used, strict=True))
    }
    report["settings"] = {
        "seeds": len(seeds),
        "training_seeds": list(seeds),
        "images_seen": seen,
        "flips": flips,
        "n_test": len(test),
        "resolution": resolution,
    }
    return report


def _study(
    correct: dict[str, npt.NDArray[np.bool_]],
    labels: npt.NDArray[np.int64],
    names: Sequence[str],
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """Measures of each arm [seeds, n_test] with intervals from resampling test images within classes, and
    seeds.

    Resamples are shared between arms, so differences are of pairs.
    """
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(labels == k) for k in range(len(names))]
    images = [multiplicities(len(own), replicates, rng) / len(own) for own in rows]
    n_seeds = len(next(iter(correct.values())))
    trainings = multiplicities(n_seeds, replicates, rng) / n_seeds
    arms: dict[str, Any] = {}
    resampled: dict[str, dict[str, FloatArray]] = {}
    for arm, hits in correct.items():
        recalls = np.stack([hits[:, own].mean(axis=1) for own in rows], axis=1)  # [seeds, K]
        # [replicates, seeds, K]
        drawn = np.stack(
            [weights @ hits[:, own].T for weights, own in zip(images, rows, strict=True)], axis=2
        )
        values = recall_measures(recalls)
        resampled[arm] = {
            name: (spread * trainings).sum(axis=1) for name, spread in recall_measures(drawn).items()
        }
        per_class = recalls.mean(axis=0)
        arms[arm] = {
            "title": ARMS[arm],
            **{name: float(value.mean()) for name, value in values.items()},
            "per_class": dict(zip(names, per_class.tolist(), strict=True)),
            "intervals": {name: _interval(spread) for name, spread in resampled[arm].items()},
            "per_seed": {name: value.tolist() for name, value in values.items()},
        }
    differences = {
        arm: {
            name: {
                "value": arms[arm][name] - arms["augmented"][name],
                "interval": _interval(resampled[arm][name] - resampled["augmented"][name]),
            }
            for name in MEASURES
        }
        for arm in arms
        if arm != "augmented"
    }
    return {"arms": arms, "differences": differences}


def recall_measures(recalls: FloatArray) -> dict[str, FloatArray]:
    """Balanced accuracy, worst-class recall and harmonic mean of recalls [..., K], over the last axis."""
    with np.errstate(divide="ignore"):
        # 1 / 0 is infinite and K / infinity is 0: one class that is never recognised makes the harmonic mean
        # 0
        harmonic = recalls.shape[-1] / (1.0 / recalls).sum(axis=-1)
    return {
        "balanced_accuracy": recalls.mean(axis=-1),
        "worst_recall": recalls.min(axis=-1),
        "harmonic_recall": harmonic,
    }


def _interval(values: FloatArray) -> list[float]:
    edge = (1 - LEVEL) / 2
    low, high = np.quantile(values, [edge, 1 - edge])
    return [float(low), float(high)]


def verdict(utility: dict[str, Any]) -> str:
    """One sentence that answers whether the synthetic images beat plain augmentation."""
    difference = utility["differences"]["topped_up"]["balanced_accuracy"]
    points, (low, high) = difference["value"] * 100, (edge * 100 for edge in difference["interval"])
    measured = f"{abs(points):.1f} points of balanced accuracy (95 %: {low:+.1f} to {high:+.1f})"
    if low > 0:
        return f"Topping up with synthetic images beats plain augmentation by {measured}."
    if high < 0:
        return f"Topping up with synthetic images is worse than plain augmentation by {measured}."
    word = "ahead of" if points >= 0 else "behind"
    return f"Topping up with synthetic images is {measured} {word} plain augmentation: no clear difference."
