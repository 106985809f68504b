"""Class by class: how well a classifier does, and the averages that a rare class can move."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gan_lt.errors import InputError


@dataclass(frozen=True)
class RecallReport:
    """All in [0, 1]; classes without images have no recall and are left out of the averages.

    accuracy: right over all images. balanced_accuracy: mean of the recalls. worst_class_recall: the least.
    harmonic_mean: of the recalls, 0 if one is 0. per_class_recall: [K], None where there were no images.
    per_class_images: [K].
    """

    accuracy: float
    balanced_accuracy: float
    worst_class_recall: float
    harmonic_mean: float
    per_class_recall: tuple[float | None, ...]
    per_class_images: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, ready for JSON."""
        return asdict(self)


def recall_report(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> RecallReport:
    """Compare predicted with true classes, both int [N] in 0..K-1.

    Raises:
        InputError: nothing to compare, different lengths, a class outside 0..K-1.
    """
    y, predicted = np.asarray(labels), np.asarray(predictions)
    if y.ndim != 1 or y.shape != predicted.shape or y.size == 0:
        raise InputError(f"labels and predictions must both be [N], got {y.shape} and {predicted.shape}")
    for name, values in (("label", y), ("prediction", predicted)):
        outside = values[(values < 0) | (values >= num_classes)]
        if outside.size:
            raise InputError(f"{name} {outside[0]} is outside 0..{num_classes - 1}")
    images = np.bincount(y, minlength=num_classes)
    right = np.bincount(y[y == predicted], minlength=num_classes)
    present = images > 0
    recall = right[present] / images[present]
    harmonic = 0.0 if recall.min() == 0 else float(len(recall) / (1 / recall).sum())
    return RecallReport(
        accuracy=float(right.sum() / images.sum()),
        balanced_accuracy=float(recall.mean()),
        worst_class_recall=float(recall.min()),
        harmonic_mean=harmonic,
        per_class_recall=tuple(float(r / n) if n else None for r, n in zip(right, images, strict=True)),
        per_class_images=tuple(int(n) for n in images),
    )
