"""Gradient penalties: R1 and R2 (Mescheder et al., ICML 2018), path length (Karras et al., CVPR 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gan_lt.processes import draw_rows, mean_over_processes


def gradient_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """|| d logits / d images ||^2 for every image, [N]: R1 on real images, R2 on generated ones.

    The usual weight is gamma / 2. `images` [N, C, H, W] must require grad and `logits` [N] depend on them.

    Raises:
        ValueError: images that don't require grad.
    """
    if not images.requires_grad:
        raise ValueError("images must require grad before the discriminator sees them")
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=[1, 2, 3])


class PathLength(nn.Module):
    """Path-length regularisation: (|| J_w^T noise || - a)^2, a its running mean.

    Args:
        decay: how fast a follows (0.01).

    Source: Karras et al., CVPR 2020, eq. 4.
    """

    mean: Tensor

    def __init__(self, decay: float = 0.01) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros([]))

    def forward(self, images: Tensor, ws: Tensor) -> Tensor:
        """Images [N, C, H, W] made from ws [N, num_ws, w_dim], which require grad -> penalties [N]."""
        shape, device, dtype = images.shape[1:], images.device, images.dtype
        noise = draw_rows(lambda rows: torch.randn([rows, *shape], device=device, dtype=dtype), len(images))
        noise = noise / math.sqrt(images.shape[2] * images.shape[3])
        (gradient,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
        lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
        mean = self.mean.lerp(mean_over_processes(lengths.detach().mean()), self.decay)
        # a step that overflowed is skipped; it must not stay here either
        self.mean.copy_(torch.where(torch.isfinite(mean), mean, self.mean))
        return (lengths - mean).square()
