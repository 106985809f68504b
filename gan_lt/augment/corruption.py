"""ADA's corruptions: additive noise and cutout (Karras et al., NeurIPS 2020, appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_lt.augment.draws import Draws

CORRUPTION = ("noise", "cutout")

_NOISE_STD = 0.1
_CUTOUT_SIZE = 0.5


def add_noise(images: Tensor, draws: Draws) -> Tensor:
    """Add N(0, s^2) to every value, s = |N(0, 0.1^2)| of the image's own."""
    std = draws.shift(_NOISE_STD).abs().view(-1, 1, 1, 1)
    return images + std * draws.normal(*images.shape[1:])


def cut_out(images: Tensor, draws: Draws) -> Tensor:
    """Set a rectangle of half the height and width, centred anywhere in the image, to 0 (mid-grey)."""
    _, _, h, w = images.shape
    given, centre = draws.given(), draws.uniform(2)
    y = (torch.arange(h, device=images.device, dtype=images.dtype) + 0.5) / h
    x = (torch.arange(w, device=images.device, dtype=images.dtype) + 0.5) / w
    inside_y = (y - centre[:, :1]).abs() < _CUTOUT_SIZE / 2
    inside_x = (x - centre[:, 1:]).abs() < _CUTOUT_SIZE / 2
    cut = inside_y[:, :, None] & inside_x[:, None, :] & given[:, None, None]
    return images.masked_fill(cut.unsqueeze(1), 0)
