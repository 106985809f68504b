"""Which images two sources share, pixel by pixel."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from eval.sources import ImageSource

_BATCH = 256


def shared_images(a: ImageSource, b: ImageSource) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which images of a [n] are in b as well, and which of b [m] in a; each is read once."""
    left, right = _digests(a), _digests(b)
    both = set(left) & set(right)
    return _among(left, both), _among(right, both)


def _digests(source: ImageSource) -> list[bytes]:
    found = []
    for start in range(0, len(source), _BATCH):
        images = source.read(np.arange(start, min(start + _BATCH, len(source))))
        shape = str(images.shape[1:]).encode()
        found += [hashlib.sha256(shape + image.tobytes()).digest()[:16] for image in images]
    return found


def _among(digests: list[bytes], known: set[bytes]) -> npt.NDArray[np.bool_]:
    return np.fromiter((digest in known for digest in digests), np.bool_, len(digests))
