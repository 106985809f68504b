"""Checks on what the metrics are handed: a metric never computes on features that are not features."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gan_lt.errors import InputError

FloatArray = npt.NDArray[np.float64]


def as_array(values: Any, what: str) -> npt.NDArray[Any]:
    """A numpy array of real numbers from an array, a nested list or a torch tensor (which is detached and
    moved).
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # numpy has no bfloat16
        values = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{what} can't be read as one array ({error}); give rows of equal length") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what} has dtype {array.dtype}; give real numbers")
    return array


def as_features(values: Any, what: str, minimum: int = 2) -> npt.NDArray[Any]:
    """Feature rows [n, d], checked, in the dtype they came in (large float32 sets are not copied).

    Raises InputError when the array is not 2-D, has fewer than `minimum` rows or no columns, or holds a
    value that is not finite (the first such row is named).
    """
    array = as_array(values, what)
    if array.ndim != 2:
        raise InputError(f"{what} has shape {array.shape}; features are a 2-D array [images, dimensions]")
    if array.shape[0] < minimum:
        raise InputError(f"{what} has {array.shape[0]} rows; at least {minimum} images are needed")
    if array.shape[1] == 0:
        raise InputError(f"{what} has shape {array.shape}; features need at least one dimension")
    check_finite(array, what)
    return array


def check_finite(features: npt.NDArray[Any], what: str) -> None:
    """Raise InputError naming the first row that holds NaN or infinity."""
    # a sum is one pass without a temporary mask, and any NaN or infinity survives it
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(features.sum(dtype=np.float64)):
            return
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        value = features[row][~np.isfinite(features[row])][0]
        raise InputError(
            f"{what} holds {value} in row {row} ({int(bad.sum())} bad rows of {len(features)}); "
            "features must be finite"
        )


def feature_pair(
    a: Any, b: Any, minimum: int = 2, names: tuple[str, str] = ("a", "b")
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Two checked feature matrices [n, d] and [m, d] of one width, in the dtypes they came in."""
    left, right = as_features(a, names[0], minimum), as_features(b, names[1], minimum)
    if left.shape[1] != right.shape[1]:
        raise InputError(
            f"{names[0]} has {left.shape[1]} dimensions and {names[1]} has {right.shape[1]}; "
            "both must come from the same extractor"
        )
    return left, right
