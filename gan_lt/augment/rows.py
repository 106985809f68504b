"""Work on those images of a batch that need it, and leave the others exactly as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def replace_rows(
    images: Tensor, changed: Tensor, transform: Callable[[Tensor, Tensor | slice], Tensor]
) -> Tensor:
    """`transform(images[rows], rows)` in the rows where `changed`, the images themselves elsewhere.

    On the CPU only those rows are computed; on a GPU, where asking which would wait for the device, all are.

    Args:
        images: [N, C, H, W].
        changed: bool [N].
        transform: images of some rows and these rows (indices or a slice) -> images of the same shape.
    """
    if images.device.type == "cpu":
        rows = changed.nonzero().squeeze(1)
        if not len(rows):
            return images
        if len(rows) < len(images):
            return images.index_copy(0, rows, transform(images.index_select(0, rows), rows))
        return transform(images, slice(None))
    return torch.where(changed.view(-1, 1, 1, 1), transform(images, slice(None)), images)
