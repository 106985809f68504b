"""Which images two sources share, pixel by pixel."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from eval.sources import ImageSource

_BATCH = 256


def shared_images(
    a: ImageSource, b: ImageSource
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]] | None:
    """Which images of a [n] are in b as well, and which of b [m] in a; each is read once.

    None where that can't be told: they are of other sizes or channels.
    """
    if "generator" in (a.kind, b.kind):  # what is made anew is nobody's image, and making it takes long
        return np.zeros(len(a), np.bool_), np.zeros(len(b), np.bool_)
    if (a.resolution, a.channels) != (b.resolution, b.channels):
        return None
    left, right = _digests(a), _digests(b)
    both = set(left) & set(right)
    return _among(left, both), _among(right, both)


def _digests(source: ImageSource) -> list[bytes]:
    found = []
    for start in range(0, len(source), _BATCH):
        images = source.read(np.arange(start, min(start + _BATCH, len(source))))
        found += [hashlib.sha256(image.tobytes()).digest()[:16] for image in images]
    return found


def _among(digests: list[bytes], known: set[bytes]) -> npt.NDArray[np.bool_]:
    return np.fromiter((digest in known for digest in digests), np.bool_, len(digests))
