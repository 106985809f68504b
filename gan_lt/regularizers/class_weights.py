"""Effective numbers of samples and the weights made from them (Cui et al., CVPR 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gan_lt.arguments import check_number
from gan_lt.errors import InputError


def checked_counts(counts: Tensor | Sequence[float], name: str = "counts") -> Tensor:
    """counts as a float64 tensor [K]; ValueError with the offending value unless all are finite and at least 1."""
    try:
        n = torch.as_tensor(counts, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name}={repr(counts)[:200]} must be numbers of images per class, [K]") from error
    if n.ndim != 1 or n.numel() == 0:
        got = f"{counts!r}" if n.ndim == 0 else f"shape {list(n.shape)}"
        raise InputError(f"{name} must be a vector [K] of images per class, got {got}")
    bad = ~torch.isfinite(n) | (n < 1)
    if bool(bad.any()):
        k = int(bad.nonzero()[0, 0])
        raise ValueError(f"{name}[{k}]={float(n[k])} must be at least 1: every class needs an image")
    return n


def effective_number(counts: Tensor | Sequence[float], beta: float) -> Tensor:
    """E_k = (1 - beta^n_k) / (1 - beta), the expected volume that n_k overlapping samples cover.

    Args:
        counts: training images of each class, [K], each at least 1.
        beta: in [0, 1); 0 gives 1 for every class, towards 1 it gives n_k.

    Returns:
        float64 [K]. Accurate for beta close to 1 and n_k in the millions (expm1 and log1p).

    Raises:
        ValueError: a count under 1, beta outside [0, 1).

    Source: Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, eq. 2.

    >>> effective_number([1, 2, 3], beta=0.5)
    tensor([1.0000, 1.5000, 1.7500], dtype=torch.float64)
    """
    n = checked_counts(counts)
    check_number(beta, "beta")
    if not 0 <= beta < 1:
        raise ValueError(f"beta={beta} must be in [0, 1)")
    if beta == 0:
        return torch.ones_like(n)
    # beta - 1 rounds a tiny beta away, log(beta) loses the digits of one close to 1
    log_beta = math.log(beta) if beta < 0.5 else math.log1p(beta - 1)
    return torch.expm1(n * log_beta) / math.expm1(log_beta)


def inverse_effective_weights(counts: Tensor | Sequence[float], beta: float) -> Tensor:
    """v_k = (1 / E_k) * K / sum_j (1 / E_j): rare classes weigh more, the mean is one. float64 [K].

    Arguments and errors as in `effective_number`.
    """
    inverse = 1 / effective_number(counts, beta)
    return inverse * (len(inverse) / inverse.sum())
