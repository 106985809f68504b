"""ADA's image-space filtering: amplify or weaken octaves of the image's spectrum (Karras et al., NeurIPS 2020, appendix B)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_lt.augment.blitting import reflect
from gan_lt.augment.draws import Draws
from gan_lt.augment.rows import replace_rows
from gan_lt.augment.wavelets import octave_filters

FILTERING = ("imgfilter",)

_BANDS = 4
_GAIN_OCTAVES = 1.0
# expected power of natural images in each band, lowest first (1/f spectrum)
_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)


def filter_bands(images: Tensor, draws: Draws) -> Tensor:
    """Give each of four frequency bands its own gain, 2^N(0, 1), each with probability p, keeping the expected power.

    Args:
        images: [N, C, H, W], reflected at the border.
        draws: of this batch.
    """
    gains = band_gains(draws)
    changed = (gains != 1).any(dim=1)
    bank = torch.as_tensor(octave_filters(_BANDS), device=images.device, dtype=images.dtype)

    def apply(some: Tensor, rows: Tensor | slice) -> Tensor:
        taps = (gains[rows] @ bank).repeat_interleave(some.shape[1], dim=0)
        n, c, h, w = some.shape
        reach = taps.shape[1] // 2
        x = some.reshape(1, n * c, h, w)
        x = x[:, :, :, reflect(torch.arange(-reach, w + reach, device=x.device), w)]
        x = F.conv2d(x, taps[:, None, None, :], groups=n * c)
        x = x[:, :, reflect(torch.arange(-reach, h + reach, device=x.device), h)]
        return F.conv2d(x, taps[:, None, :, None], groups=n * c).view_as(some)

    return replace_rows(images, changed, apply)


def band_gains(draws: Draws) -> Tensor:
    """[N, 4], lowest band first; after each band's draw all are scaled so that the expected power stays 1."""
    power = torch.tensor(_POWER, device=draws.device, dtype=draws.dtype)
    gains = torch.ones(draws.n, _BANDS, device=draws.device, dtype=draws.dtype)
    for band in range(_BANDS):
        given = draws.given().unsqueeze(1)
        t = torch.ones_like(gains)
        t[:, band] = torch.exp2(draws.normal() * _GAIN_OCTAVES)
        t = t / (t.square() * power).sum(dim=1, keepdim=True).sqrt()
        gains = torch.where(given, gains * t, gains)
    return gains
