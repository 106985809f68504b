"""ADA's general geometric transforms, composed into one affine warp an image (Karras et al., NeurIPS 2020, appendix B)."""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor

from gan_lt.augment.draws import Draws
from gan_lt.augment.resampling import affine_warp
from gan_lt.augment.rows import replace_rows

GEOMETRY = ("scale", "rotate", "aniso", "xfrac")

_SCALE_OCTAVES = 0.2
_SHIFT_STD = 0.125  # of the size


def transform_geometry(images: Tensor, draws: Draws, transforms: Container[str]) -> Tensor:
    """Scale, rotate (before and after), stretch and shift by fractions of a pixel, in one resampling.

    "scale" and "aniso" have log-normal factors 2^N(0, 0.2^2), the second one s and 1/s along the axes; "rotate" turns by
    U(-pi, pi) before and after stretching, each with probability 1 - sqrt(1 - p), so that an image is turned with
    probability p; "xfrac" shifts by N(0, 0.125^2) of the size.

    Args:
        images: [N, C, S, S], S at least 8.
        draws: of this batch. transforms: which of `GEOMETRY` to apply; others are ignored.
    """
    inverse = inverse_map(draws, transforms, images.shape[-1])
    identity = torch.eye(2, 3, device=images.device, dtype=images.dtype)
    changed = (inverse != identity).flatten(1).any(dim=1)
    return replace_rows(images, changed, lambda some, rows: affine_warp(some, inverse[rows]))


def inverse_map(draws: Draws, transforms: Container[str], size: int) -> Tensor:
    """[N, 2, 3]: from the output's pixels to the input's, the transforms' inverses from the first to the last.

    Distributions of scales and angles are symmetric, but inverses are taken all the same: it is the picture that is scaled.
    """
    a = torch.eye(2, device=draws.device, dtype=draws.dtype).repeat(draws.n, 1, 1)
    either = 1 - (1 - draws.p) ** 0.5  # of two chances, together p
    if "scale" in transforms:
        a = a / draws.factor(_SCALE_OCTAVES).view(-1, 1, 1)
    if "rotate" in transforms:
        a = a @ _rotation(-draws.angle(either))
    if "aniso" in transforms:
        s = draws.factor(_SCALE_OCTAVES)
        a = a * torch.stack([1 / s, s], dim=1).unsqueeze(1)
    if "rotate" in transforms:
        a = a @ _rotation(-draws.angle(either))
    b = torch.zeros(draws.n, 2, 1, device=draws.device, dtype=draws.dtype)
    if "xfrac" in transforms:
        b = -(a @ (draws.shift(_SHIFT_STD, 2) * size).unsqueeze(2))
    return torch.cat([a, b], dim=2)


def _rotation(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
