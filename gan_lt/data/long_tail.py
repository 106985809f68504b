"""Long-tail profiles: how many images each class keeps, which ones, and what the counts are called."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.image_set import ImageSet
from gan_lt.errors import InputError

Profile = Literal["exp", "step"]
ShotGroup = Literal["many", "medium", "few"]


def long_tail_counts(
    num_classes: int, n_max: int, ratio: float, profile: Profile = "exp"
) -> NDArray[np.int64]:
    """int64 ``[K]``: images of each class, class 0 the most common.

    ``"exp"``: ``n_k = n_max * ratio ** (-k / (K - 1))``; ``"step"``: ``n_max`` for the first half of the
    classes (the larger one, if K is odd) and ``n_max / ratio`` for the rest; both truncated to integers.
    ``ratio`` is ``n_max / n_min``, at least 1. Source: Cao et al., NeurIPS 2019, section 4.

    >>> long_tail_counts(10, 5000, 100).tolist()
    [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]

    Raises:
        InputError: a ratio under 1, an unknown profile, or a rarest class that would be left with no image.
    """
    if num_classes < 1 or n_max < 1:
        raise InputError(f"a long tail needs classes and images: {num_classes} classes of {n_max} images")
    if not math.isfinite(ratio) or ratio < 1:
        raise InputError(f"--imbalance {ratio:g} is not a ratio of 1 or more (most common over rarest class)")
    rank = np.arange(num_classes)
    if profile == "exp":
        exponent = rank / max(num_classes - 1, 1)
    elif profile == "step":
        exponent = (rank >= (num_classes + 1) // 2).astype(np.float64)
    else:
        raise InputError(f"--profile {profile} is not known: it must be exp or step")
    # The power's rounding error must not turn an exact 90 into 89.
    counts = np.floor(n_max * ratio**-exponent * (1 + 1e-12)).astype(np.int64)
    if counts[-1] < 1:
        raise InputError(
            f"--imbalance {ratio:g} leaves the rarest class no image: the classes have {n_max} "
            f"to start from, so the ratio can be {n_max} at most"
        )
    return counts


def thin_to_long_tail(image_set: ImageSet, ratio: float, profile: Profile = "exp", seed: int = 0) -> ImageSet:
    """Thin a set out to ``long_tail_counts``, with n_max the size of its smallest class.

    Which images stay is drawn per class from ``seed``; with the same seed a higher ratio keeps a part of what
    a lower one keeps. The order of the images does not change.

    Raises:
        InputError: as ``long_tail_counts``, or a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is negative: it must be 0 or more")
    counts = long_tail_counts(image_set.num_classes, int(image_set.counts.min()), ratio, profile)
    kept = np.zeros(len(image_set), dtype=bool)
    for label, count in enumerate(counts):
        members = np.flatnonzero(image_set.labels == label)
        kept[np.random.default_rng([seed, label]).permutation(members)[:count]] = True
    return image_set.subset(kept)


def shot_groups(
    counts: Sequence[int] | NDArray[np.int64], many_over: int = 100, few_under: int = 20
) -> list[ShotGroup]:
    """The shot group of each class by its training images: "many" over 100, "few" under 20, else "medium".

    The cuts are ImageNet-LT's (Liu et al., CVPR 2019).

    >>> shot_groups([101, 100, 20, 19])
    ['many', 'medium', 'medium', 'few']

    Raises:
        InputError: cuts that overlap, or a negative count.
    """
    if few_under > many_over + 1:
        raise InputError(
            f"shot groups overlap: few is under {few_under}, many over {many_over}; few must end first"
        )
    if any(count < 0 for count in counts):
        raise InputError(f"a class can't have {min(counts)} images: counts must be 0 or more")
    return ["many" if count > many_over else "few" if count < few_under else "medium" for count in counts]
