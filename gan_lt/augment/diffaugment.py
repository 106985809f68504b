"""DiffAugment: the same kind of augmentation on real and generated images, differentiable (Zhao et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_lt.processes import draw_rows


def diff_augment(images: Tensor, policy: tuple[str, ...] = ("color", "translation", "cutout")) -> Tensor:
    """Augment a batch, each image with its own draw.

    Args:
        images: [N, C, H, W] in [-1, 1].
        policy: any of "color" (brightness, saturation, contrast), "translation" (up to 1/8 of the size) and "cutout" (a square of
            half the size), applied in this order.

    Returns:
        A tensor of the same shape; gradients flow to `images`.

    Raises:
        ValueError: an unknown name in policy.
    """
    for name in policy:
        if name not in POLICIES:
            raise ValueError(f"DiffAugment policy {name!r} is not known; choose from {', '.join(POLICIES)}")
        for function in POLICIES[name]:
            images = function(images)
    return images


def _draw(images: Tensor) -> Tensor:
    return draw_rows(lambda n: torch.rand(n, 1, 1, 1, device=images.device, dtype=images.dtype), len(images))


def _draw_offsets(images: Tensor, low: int, high: int) -> Tensor:
    """Whole numbers [N, 1] from low to high - 1."""
    return draw_rows(lambda n: torch.randint(low, high, [n, 1], device=images.device), len(images))


def brightness(images: Tensor) -> Tensor:
    """Add a constant from [-0.5, 0.5)."""
    return images + (_draw(images) - 0.5)


def saturation(images: Tensor) -> Tensor:
    """Scale the distance from the image's grey by a factor from [0, 2). Grey images keep their values."""
    if images.shape[1] == 1:
        return images
    grey = images.mean(dim=1, keepdim=True)
    return (images - grey) * (_draw(images) * 2) + grey


def contrast(images: Tensor) -> Tensor:
    """Scale the distance from the image's mean by a factor from [0.5, 1.5)."""
    mean = images.mean(dim=[1, 2, 3], keepdim=True)
    return (images - mean) * (_draw(images) + 0.5) + mean


def translation(images: Tensor, ratio: float = 0.125) -> Tensor:
    """Shift by up to `ratio` of the size in whole pixels; what comes in is 0 (mid-grey)."""
    n, _, h, w = images.shape
    reach_y, reach_x = int(h * ratio + 0.5), int(w * ratio + 0.5)
    dy = _draw_offsets(images, -reach_y, reach_y + 1)
    dx = _draw_offsets(images, -reach_x, reach_x + 1)
    rows = (torch.arange(h, device=images.device) + dy + reach_y)[:, None, :, None]
    columns = (torch.arange(w, device=images.device) + dx + reach_x)[:, None, None, :]
    padded = F.pad(images, [reach_x, reach_x, reach_y, reach_y])
    rows = rows.expand(n, images.shape[1], h, padded.shape[3])
    columns = columns.expand(n, images.shape[1], h, w)
    return padded.gather(2, rows).gather(3, columns)


def cutout(images: Tensor, ratio: float = 0.5) -> Tensor:
    """Set a square of `ratio` of the size, centred anywhere, to 0 (mid-grey)."""
    _, _, h, w = images.shape
    size_y, size_x = int(h * ratio + 0.5), int(w * ratio + 0.5)
    y = torch.arange(h, device=images.device)
    x = torch.arange(w, device=images.device)
    top = _draw_offsets(images, 0, h + (1 - size_y % 2)) - size_y // 2
    left = _draw_offsets(images, 0, w + (1 - size_x % 2)) - size_x // 2
    hit_y = (y >= top) & (y < top + size_y)
    hit_x = (x >= left) & (x < left + size_x)
    keep = ~(hit_y[:, :, None] & hit_x[:, None, :])
    return images * keep[:, None].to(images.dtype)


POLICIES: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    "color": (brightness, saturation, contrast),
    "translation": (translation,),
    "cutout": (cutout,),
}
