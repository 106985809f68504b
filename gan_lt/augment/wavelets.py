"""Symlets: orthogonal, nearly symmetric wavelet filters (Daubechies, "Ten Lectures on Wavelets", 1992, section 8.1)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# low-pass taps, sum sqrt(2); the tests check orthogonality and vanishing moments, which define them
SYM2 = (
    (1 + math.sqrt(3)) / (4 * math.sqrt(2)),
    (3 + math.sqrt(3)) / (4 * math.sqrt(2)),
    (3 - math.sqrt(3)) / (4 * math.sqrt(2)),
    (1 - math.sqrt(3)) / (4 * math.sqrt(2)),
)
SYM6 = (
    0.015404109327027373,
    0.0034907120842174702,
    -0.11799011114819057,
    -0.048311742585633,
    0.4910559419267466,
    0.787641141030194,
    0.3379294217276218,
    -0.07263752278646252,
    -0.021060292512300564,
    0.04472490177066578,
    0.0017677118642428036,
    -0.007800708325034148,
)


def octave_filters(bands: int = 4) -> NDArray[np.float64]:
    """Zero-phase band-pass filters of an image's octaves, lowest first: [bands, taps], which add up to the identity.

    With h the sym2 low-pass filter and h0 = h * reversed(h) / 2, the lowest band is h0(z) h0(z^2) h0(z^4)..., the highest
    1 - h0(z), and each between them is what the next lower low-pass takes away.
    """
    h = np.array(SYM2)
    low = np.convolve(h, h[::-1]) / 2
    passed = np.array([1.0])
    filters = []
    for octave in range(bands - 1):
        dilated = np.zeros((len(low) - 1) * 2**octave + 1)
        dilated[:: 2**octave] = low
        lower = np.convolve(passed, dilated)
        margin = (len(lower) - len(passed)) // 2
        filters.append(np.pad(passed, margin) - lower)
        passed = lower
    filters.append(passed)
    width = len(passed)
    return np.stack([np.pad(f, (width - len(f)) // 2) for f in reversed(filters)])
