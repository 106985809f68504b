"""clean-fid's resize (Parmar et al., CVPR 2022): Pillow's antialiased bicubic filter in float, not rounded.

Resizing is linear, so Pillow's filter for a pair of sizes is a matrix: what Pillow makes of unit impulses.
Small images are resized by products with it, a batch at a time, several times faster than image by image and
equal to Pillow to 1e-4 of a grey level, the rounding of float32. Large ones go through Pillow itself, in
threads.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eval.extractors.base import ImageArray

_LARGEST_PRODUCT = 256  # above, a product with a matrix that is mostly zeros costs more than the filter
_PRODUCT_CHUNK = 8  # images at a time: their intermediate rows stay in the processor's cache
_BLOCK = 50
_PILLOW_CHUNK = 8

_Band = tuple[int, int, int, int, Tensor]  # outputs from, to; inputs from, to; weights [inputs, outputs]


class CleanResizer:
    """Resizes uint8 images [n, C, H, H] (C of 1 or 3) to float32 [n, 3, size, size] in [0, 255]; gray is
    repeated.

    Each channel is resized in float32 and clipped but not rounded. The result is valid until the next call:
    its memory is used again, because fresh memory for a batch costs as much as the resizing.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._filters: dict[int, list[_Band]] = {}
        self._scratch: dict[str, Tensor] = {}

    def __call__(self, images: ImageArray) -> Tensor:
        n, channels, _, side = images.shape
        out = self._buffer("out", n * channels * self.size, self.size).view(n, channels, self.size, self.size)
        if side == self.size:
            out.copy_(torch.from_numpy(np.ascontiguousarray(images)))
        elif side <= _LARGEST_PRODUCT:
            self._by_product(images, out)
        else:
            self._by_pillow(images, out)
        return out.expand(n, 3, self.size, self.size)

    def _by_product(self, images: ImageArray, out: Tensor) -> None:
        for start in range(0, len(images), _PRODUCT_CHUNK):
            part = torch.from_numpy(np.ascontiguousarray(images[start : start + _PRODUCT_CHUNK]))
            n, channels, _, side = part.shape
            planes = n * channels
            # columns first, while the other axis is still short: the large product then writes rows as they
            # lie
            columns = part.view(planes, side, side).transpose(1, 2).float().reshape(-1, side)
            narrow = self._buffer("narrow", planes * side, self.size)
            turned = self._buffer("turned", planes * self.size, side)
            wide = out[start : start + n].view(-1, self.size)
            self._product(columns, narrow)
            turned.view(planes, self.size, side).copy_(narrow.view(planes, side, self.size).transpose(1, 2))
            self._product(turned, wide)
            wide.clamp_(0, 255)

    def _product(self, rows: Tensor, out: Tensor) -> None:
        """Resize rows [m, side] to out [m, size]."""
        for start, stop, first, last, weights in self._bands(rows.shape[1]):
            torch.mm(rows[:, first:last], weights, out=out[:, start:stop])

    def _by_pillow(self, images: ImageArray, out: Tensor) -> None:
        planes = images.reshape(-1, *images.shape[2:])
        target = out.view(-1, self.size, self.size).numpy()

        def resize(start: int) -> None:
            for index in range(start, min(start + _PILLOW_CHUNK, len(planes))):
                plane = Image.fromarray(planes[index].astype(np.float32))
                resized = plane.resize((self.size, self.size), Image.Resampling.BICUBIC)
                np.clip(np.asarray(resized), 0, 255, out=target[index])

        starts = range(0, len(planes), _PILLOW_CHUNK)
        with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), len(starts))) as pool:
            list(pool.map(resize, starts))

    def _bands(self, side: int) -> list[_Band]:
        """Pillow's filter as blocks of a matrix [side, size]: a block of outputs needs a band of inputs
        alone.
        """
        if side not in self._filters:
            impulses = Image.fromarray(np.eye(side, dtype=np.float32))
            response = np.asarray(impulses.resize((side, self.size), Image.Resampling.BICUBIC)).T
            bands = []
            for start in range(0, self.size, _BLOCK):
                block = response[:, start : start + _BLOCK]
                used = np.flatnonzero(block.any(axis=1))
                first, last = int(used[0]), int(used[-1]) + 1
                weights = torch.from_numpy(np.ascontiguousarray(block[first:last]))
                bands.append((start, start + block.shape[1], first, last, weights))
            self._filters[side] = bands
        return self._filters[side]

    def _buffer(self, name: str, rows: int, width: int) -> Tensor:
        kept = self._scratch.get(name)
        if kept is None or kept.numel() < rows * width:
            kept = self._scratch[name] = torch.empty(rows * width)
        return kept[: rows * width].view(rows, width)
