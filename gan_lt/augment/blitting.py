"""ADA's pixel blitting: mirroring, quarter turns, whole-pixel shifts. Pixels are copied, never blended.

Source: Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020, appendix B.
"""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor

from gan_lt.augment.draws import Draws
from gan_lt.augment.rows import replace_rows

BLITTING = ("xflip", "rotate90", "xint")
_REACH = 0.125  # of the size: how far whole-pixel shifts go


def reflect(positions: Tensor, size: int) -> Tensor:
    """Positions on the line, folded into [0, size - 1] by reflection about the first and the last pixel's centre."""
    last = size - 1
    if last == 0:
        return torch.zeros_like(positions)
    return last - (positions.remainder(2 * last) - last).abs()


def blit(images: Tensor, draws: Draws, transforms: Container[str]) -> Tensor:
    """Mirror ("xflip", 1/2), turn by 0 to 3 quarters ("rotate90") and shift by up to 1/8 of the size ("xint").

    Args:
        images: [N, C, S, S].
        draws: of this batch.
        transforms: which of `BLITTING` to apply; others are ignored.

    Returns:
        The same shape; what comes in from outside is the image's reflection.
    """
    n, _, _, size = images.shape
    zeros = torch.zeros(n, dtype=torch.int64, device=images.device)
    mirrored = draws.choice(2) if "xflip" in transforms else zeros
    quarters = draws.choice(4) if "rotate90" in transforms else zeros
    dy = dx = zeros
    if "xint" in transforms:
        shift = (draws.uniform(2) * 2 - 1) * (_REACH * size)
        shift = torch.where(draws.given().unsqueeze(1), shift, 0.0).round().long()
        dy, dx = shift[:, 0], shift[:, 1]
    changed = (mirrored + quarters + dy.abs() + dx.abs()) > 0

    def move(some: Tensor, rows: Tensor | slice) -> Tensor:
        # from the output's pixels back to the input's: shift, then turn, then mirror
        line = torch.arange(size, device=images.device)
        y = reflect(line[None, :, None] - dy[rows, None, None], size)
        x = reflect(line[None, None, :] - dx[rows, None, None], size)
        turned = quarters[rows, None, None]
        y, x = (
            torch.where(turned == 0, y, 0)
            + torch.where(turned == 1, x, 0)
            + torch.where(turned == 2, size - 1 - y, 0)
            + torch.where(turned == 3, size - 1 - x, 0),
            torch.where(turned == 0, x, 0)
            + torch.where(turned == 1, size - 1 - y, 0)
            + torch.where(turned == 2, size - 1 - x, 0)
            + torch.where(turned == 3, y, 0),
        )
        x = torch.where(mirrored[rows, None, None] == 1, size - 1 - x, x)
        source = (y * size + x).flatten(1).unsqueeze(1).expand(-1, some.shape[1], -1)
        return some.flatten(2).gather(2, source).view_as(some)

    return replace_rows(images, changed, move)
