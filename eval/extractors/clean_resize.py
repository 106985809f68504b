"""clean-fid's resize (Parmar et al., CVPR 2022): Pillow's antialiased bicubic filter in float, not rounded.

Resizing is linear, so Pillow's filter for a pair of sizes is a matrix: what Pillow makes of unit impulses. Its few
coefficients a row go to a kernel that resizes a batch of planes at once, equal to Pillow to 1e-4 of a grey level, the
rounding of float32.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cuda_ops.resize import resize_planes
from eval.extractors.base import ImageArray

_Filter = tuple[Tensor, Tensor]  # weights [size, taps], first input of each row [size]


class CleanResizer:
    """Resizes uint8 images [n, C, H, H] (C of 1 or 3) to float32 [n, 3, size, size] in [0, 255]; gray is
    repeated.

    Each channel is resized in float32 and clipped but not rounded. The result is valid until the next call:
    its memory is used again, because fresh memory for a batch costs as much as the resizing.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._filters: dict[int, _Filter] = {}
        self._kept = torch.empty(0)

    def __call__(self, images: ImageArray) -> Tensor:
        n, channels, _, side = images.shape
        planes = torch.from_numpy(np.ascontiguousarray(images)).view(n * channels, side, side)
        out = self._memory(n * channels)
        if side == self.size:
            out.copy_(planes)
        else:
            resize_planes(planes, *self._filter(side), highest=255.0, out=out)
        return out.view(n, channels, self.size, self.size).expand(n, 3, self.size, self.size)

    def _filter(self, side: int) -> _Filter:
        if side not in self._filters:
            impulses = Image.fromarray(np.eye(side, dtype=np.float32))
            response = np.asarray(impulses.resize((side, self.size), Image.Resampling.BICUBIC))
            first = (response != 0).argmax(axis=1)
            last = side - (response[:, ::-1] != 0).argmax(axis=1)
            taps = int((last - first).max())
            starts = np.minimum(first, side - taps)
            weights = np.take_along_axis(response, starts[:, None] + np.arange(taps), axis=1)
            self._filters[side] = torch.from_numpy(weights), torch.from_numpy(starts)
        return self._filters[side]

    def _memory(self, planes: int) -> Tensor:
        needed = planes * self.size**2
        if self._kept.numel() < needed:
            self._kept = torch.empty(needed)
        return self._kept[:needed].view(planes, self.size, self.size)
