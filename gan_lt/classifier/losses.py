"""Losses for long-tailed classification, as pure functions: logits [N, K], labels int64 [N] -> a scalar.

`weights` [K] weigh each image by its class; the mean is over the weights in the batch, so that the size of a step
does not hang on which classes a batch holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_lt.errors import InputError
from gan_lt.regularizers.class_weights import checked_counts, inverse_effective_weights

LossName = Literal["ldam", "cross_entropy", "class_balanced", "focal", "logit_adjustment"]
LOSS_NAMES: tuple[LossName, ...] = get_args(LossName)


def ldam_margins(counts: Tensor | Sequence[float], max_margin: float = 0.5) -> Tensor:
    """m_k = m_max * n_k^(-1/4) / max_j n_j^(-1/4), float64 [K]: the rarest class has m_max.

    Raises:
        ValueError: a count under 1, a negative margin.

    Source: Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019, eq. 12.

    >>> ldam_margins([10000, 16], max_margin=0.5)
    tensor([0.1000, 0.5000], dtype=torch.float64)
    """
    if not 0 <= max_margin < float("inf"):
        raise InputError(f"max_margin={max_margin} must be at least 0 and finite")
    n = checked_counts(counts)
    return max_margin * (n / n.min()) ** -0.25


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """-log softmax(logits)_y."""
    _check(logits, labels)
    return F.cross_entropy(_accurate(logits), labels, _like(weights, logits))


def ldam(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor | Sequence[float],
    max_margin: float = 0.5,
    scale: float = 30.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy with the true class's cosine lowered by its margin m_y (Cao et al., NeurIPS 2019, eq. 13).

    Args:
        logits: scale * cosine, as `Classifier` with `normalized` returns them; the true one loses scale * m_y.
    """
    _check(logits, labels)
    margins = _like(ldam_margins(_of_classes(counts, logits), max_margin), logits)
    lowered = _accurate(logits) - scale * margins * F.one_hot(labels, logits.shape[1])
    return F.cross_entropy(lowered, labels, _like(weights, logits))


def class_balanced(
    logits: Tensor, labels: Tensor, counts: Tensor | Sequence[float], beta: float = 0.9999
) -> Tensor:
    """Cross-entropy weighted by v_k, the inverse effective number of samples (Cui et al., CVPR 2019)."""
    return cross_entropy(logits, labels, inverse_effective_weights(_of_classes(counts, logits), beta))


def focal(logits: Tensor, labels: Tensor, gamma: float = 2.0, weights: Tensor | None = None) -> Tensor:
    """-(1 - p_y)^gamma log p_y (Lin et al., ICCV 2017, eq. 4).

    Raises:
        ValueError: a negative gamma.
    """
    _check(logits, labels)
    if not 0 <= gamma < float("inf"):
        raise InputError(f"gamma={gamma} must be at least 0 and finite")
    negative_log_p = F.cross_entropy(_accurate(logits), labels, reduction="none")
    # 1 - p at p = 1 has no gradient for gamma < 1, so it is kept off 0
    easy = (-torch.expm1(-negative_log_p)).clamp(min=1e-12)
    loss = easy**gamma * negative_log_p
    if weights is None:
        return loss.mean()
    v = weights.to(loss)[labels]
    return (v * loss).sum() / v.sum()


def logit_adjustment(
    logits: Tensor, labels: Tensor, counts: Tensor | Sequence[float], tau: float = 1.0
) -> Tensor:
    """Cross-entropy of logits + tau * log(n_k / n) (Menon et al., ICLR 2021, eq. 10). tau: at least 0."""
    _check(logits, labels)
    if not 0 <= tau < float("inf"):
        raise InputError(f"tau={tau} must be at least 0 and finite")
    n = _of_classes(counts, logits)
    return F.cross_entropy(_accurate(logits) + _like(tau * (n / n.sum()).log(), logits), labels)


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise InputError(
            f"logits must be [N, K] and labels [N], got {list(logits.shape)} and {list(labels.shape)}"
        )


def _of_classes(counts: Tensor | Sequence[float], logits: Tensor) -> Tensor:
    n = checked_counts(counts)
    if len(n) != logits.shape[-1]:
        raise InputError(f"counts has {len(n)} classes, logits have {logits.shape[-1]}")
    return n


@overload
def _like(values: Tensor, logits: Tensor) -> Tensor: ...


@overload
def _like(values: None, logits: Tensor) -> None: ...


def _like(values: Tensor | None, logits: Tensor) -> Tensor | None:
    return None if values is None else values.to(logits.device, _accurate(logits).dtype)


def _accurate(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
