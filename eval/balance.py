"""Balance of what was generated, judged by a classifier, and whether images show the class they were asked
for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.feature_matrix import as_array
from gan_lt.errors import InputError


@dataclass(frozen=True)
class Balance:
    """What a classifier saw in generated images.

    kl_uniform: KL(histogram of predictions || uniform), nats, 0 for a balanced set. kl_requested: the same to
    the histogram of the labels asked for. accuracy: share recognised as the class asked for.
    per_class_accuracy [K]: the same by class (NaN for a class that was not asked for). predicted_share [K]:
    share of images seen as each class. confusion [K, K]: images asked for as the row, seen as the column.
    """

    kl_uniform: float
    kl_requested: float
    accuracy: float
    per_class_accuracy: npt.NDArray[np.float64]
    predicted_share: npt.NDArray[np.float64]
    confusion: npt.NDArray[np.int64]


def balance(predicted: Any, requested: Any, num_classes: int) -> Balance:
    """Balance and conditional accuracy from predicted and requested class indices [n].

    Raises InputError for different lengths, no images, or an index outside the classes.
    """
    seen, asked = as_array(predicted, "predicted"), as_array(requested, "requested")
    for name, labels in (("predicted", seen), ("requested", asked)):
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise InputError(
                f"{name} has shape {labels.shape} and dtype {labels.dtype}; give class indices [n]"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            wrong = labels[(labels < 0) | (labels >= num_classes)][0]
            raise InputError(f"{name} holds {wrong}, outside the {num_classes} classes")
    if len(seen) != len(asked) or len(seen) == 0:
        raise InputError(
            f"predicted has {len(seen)} and requested {len(asked)} entries; give equally many, at least 1"
        )
    flat = np.bincount(asked.astype(np.int64) * num_classes + seen.astype(np.int64), minlength=num_classes**2)
    confusion = flat.reshape(num_classes, num_classes).astype(np.int64)
    share = confusion.sum(axis=0) / len(seen)
    wanted = confusion.sum(axis=1) / len(seen)
    with np.errstate(invalid="ignore"):
        per_class = np.diag(confusion) / confusion.sum(axis=1)
    return Balance(
        kl_uniform=kl_divergence(share, np.full(num_classes, 1.0 / num_classes)),
        kl_requested=kl_divergence(share, wanted),
        accuracy=float(np.trace(confusion) / len(seen)),
        per_class_accuracy=per_class,
        predicted_share=share,
        confusion=confusion,
    )


def kl_divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """KL(p || q) in nats of two histograms that sum to 1; infinite where p has what q lacks."""
    here = p > 0
    if (q[here] == 0).any():
        return float("inf")
    return max(0.0, float(np.sum(p[here] * np.log(p[here] / q[here]))))
