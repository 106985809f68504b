"""ADA's color transforms, composed into one affine map of the channels (Karras et al., NeurIPS 2020, appendix B)."""

from __future__ import annotations

import math
from collections.abc import Container

import torch
from torch import Tensor

from gan_lt.augment.draws import Draws
from gan_lt.augment.rows import replace_rows

COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")

_BRIGHTNESS_STD = 0.2
_CONTRAST_OCTAVES = 0.5
_SATURATION_OCTAVES = 1.0


def transform_color(images: Tensor, draws: Draws, transforms: Container[str]) -> Tensor:
    """Change brightness, contrast, luma's sign, hue and saturation by one matrix an image.

    Args:
        images: [N, 1 or 3, H, W]. Grey images have a luma axis only: hue and saturation leave them as they are.
        draws: of this batch. transforms: which of `COLOR` to apply; others are ignored.

    Raises:
        ValueError: neither 1 nor 3 channels.
    """
    channels = images.shape[1]
    if channels not in (1, 3):
        raise ValueError(f"ADA's color transforms need 1 or 3 channels, got {channels}")
    matrix, offset = color_map(draws, transforms)
    if channels == 1:
        # grey, (g, g, g), stays on the luma axis, so one row says all
        matrix, offset = matrix.sum(dim=2, keepdim=True).mean(dim=1, keepdim=True), offset[:, :1]
    identity = torch.eye(channels, device=images.device, dtype=images.dtype)
    changed = (matrix != identity).flatten(1).any(dim=1) | (offset != 0).any(dim=1)

    def recolor(some: Tensor, rows: Tensor | slice) -> Tensor:
        out = torch.baddbmm(offset[rows].unsqueeze(2), matrix[rows], some.flatten(2))
        return out.view_as(some)

    return replace_rows(images, changed, recolor)


def color_map(draws: Draws, transforms: Container[str]) -> tuple[Tensor, Tensor]:
    """The matrices [N, 3, 3] and offsets [N, 3] of the composed transforms, first to last."""
    eye = torch.eye(3, device=draws.device, dtype=draws.dtype)
    luma = torch.full_like(eye, 1 / 3)  # v v^T with v the unit vector along grey
    matrix = eye.repeat(draws.n, 1, 1)
    offset = torch.zeros(draws.n, 3, device=draws.device, dtype=draws.dtype)
    if "brightness" in transforms:
        offset = offset + draws.shift(_BRIGHTNESS_STD).unsqueeze(1)
    if "contrast" in transforms:
        factor = draws.factor(_CONTRAST_OCTAVES)
        matrix, offset = matrix * factor.view(-1, 1, 1), offset * factor.unsqueeze(1)
    steps: list[Tensor] = []
    if "lumaflip" in transforms:
        flipped = draws.choice(2).to(draws.dtype).view(-1, 1, 1)
        steps.append(eye - 2 * luma * flipped)
    if "hue" in transforms:
        angle = draws.angle().view(-1, 1, 1)
        # Rodrigues' rotation about v; exact where the angle is 0. [v]_x = (P - P^T) / sqrt(3), P the cyclic permutation
        cycle = eye.roll(-1, 0)
        cross = (cycle.t() - cycle) / math.sqrt(3)
        steps.append(eye + angle.sin() * cross + (1 - angle.cos()) * (luma - eye))
    if "saturation" in transforms:
        steps.append(eye + (draws.factor(_SATURATION_OCTAVES).view(-1, 1, 1) - 1) * (eye - luma))
    for step in steps:
        matrix, offset = step @ matrix, (step @ offset.unsqueeze(2)).squeeze(2)
    return matrix, offset
