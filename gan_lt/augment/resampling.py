"""Bilinear sampling with derivatives of any order with respect to the image, and the anti-aliased affine warp on top of it."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_lt.augment.blitting import reflect
from gan_lt.augment.wavelets import SYM6

_BILINEAR, _ZEROS = 0, 0  # codes of aten::grid_sampler_2d

# where a tap of the two-fold upsampled signal lies: the filter's centre of mass, in upsampled pixels
_CENTRE = float(np.dot(np.arange(len(SYM6)), SYM6) / np.sum(SYM6))
_MARGIN = 7  # pixels around the image, of which the filter needs 3
_DIRECT = 3.5  # pixels beyond the border that are looked up there; farther ones are reflected first


def grid_sample(images: Tensor, grid: Tensor) -> Tensor:
    """`F.grid_sample(images, grid, align_corners=True)` (bilinear, zeros outside), differentiable twice.

    Sampling is linear in the image, so its derivative is its adjoint, whose derivative is sampling again. PyTorch has
    no derivative of its own for the adjoint. There is none with respect to the grid.

    Args:
        images: [N, C, H, W]. grid: [N, h, w, 2], x and y in [-1, 1].
    """
    sampled: Tensor = _Sample.apply(images, grid)  # type: ignore[no-untyped-call]
    return sampled


class _Sample(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, align_corners=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (grid,) = ctx.saved_tensors
        return _Adjoint.apply(gradient, grid, ctx.shape), None  # type: ignore[no-untyped-call]


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        images = gradient.new_empty(1).expand(shape)  # only its shape is read
        adjoint, _ = torch.ops.aten.grid_sampler_2d_backward(
            gradient, images, grid, _BILINEAR, _ZEROS, True, [True, False]
        )
        return cast(Tensor, adjoint)

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (grid,) = ctx.saved_tensors
        return grid_sample(direction, grid), None, None


@cache
def _sym6(device: torch.device) -> Tensor:
    from cuda_ops import setup_filter

    return setup_filter(list(SYM6)).to(device)


def affine_warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Warp each image by its own affine map, anti-aliased, with the image's reflection around it.

    The image is upsampled two-fold with the sym6 filter, sampled bilinearly on the two-fold grid of the output, and
    downsampled with the same filter (Karras et al., NeurIPS 2020, appendix B). The identity gives the image back, since
    sym6 is orthogonal. Far positions are reflected before they are looked up, so that no map needs a wider margin.

    Args:
        images: [N, C, S, S], S at least 8.
        inverse: [N, 2, 3], from the output's pixels to the input's, (x, y, 1) from the image's centre.

    Returns:
        The same shape; differentiable twice with respect to the images.
    """
    from cuda_ops import upfirdn2d  # takes a second; the configuration only wants the names

    size, taps = images.shape[-1], len(SYM6)
    filter_ = _sym6(images.device)
    padded = F.pad(images, [_MARGIN] * 4, mode="reflect")
    # up[m] = sum_i f[m - 2 i] padded[i], so that up[m] lies at (m - centre) / 2
    up = upfirdn2d(padded, filter_, up=2, padding=(taps - 1, 0, taps - 1, 0), gain=4.0)
    length = 2 * size + taps - 2
    line = (torch.arange(length, device=images.device, dtype=images.dtype) - _CENTRE) / 2 - (size - 1) / 2
    a = inverse[:, :, :, None, None]
    x = a[:, 0, 0] * line + a[:, 0, 1] * line[:, None] + a[:, 0, 2]
    y = a[:, 1, 0] * line + a[:, 1, 1] * line[:, None] + a[:, 1, 2]
    position = torch.stack([x, y], dim=-1) + (size - 1) / 2
    # sym6 is not quite symmetric: near the border the upsampled image's reflection is not the reflection, upsampled
    near = (position > -_DIRECT) & (position < size - 1 + _DIRECT)
    position = torch.where(near, position, reflect(position, size))
    grid = (2 * (position + _MARGIN) + _CENTRE) * (2 / (up.shape[-1] - 1)) - 1
    return upfirdn2d(grid_sample(up, grid), filter_, down=2, flip_filter=True)
