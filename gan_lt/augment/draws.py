"""Random decisions of the ADA pipeline: one draw an image, all images at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gan_lt.processes import draw_rows


class Draws:
    """Draws for a batch; a transform that an image is not given draws its neutral value.

    Args:
        images: [N, ...], whose number, device and precision the draws have.
        p: probability that an image is given a transform: a number or a scalar tensor in [0, 1].
        generator: of random numbers; None: PyTorch's own.
    """

    def __init__(self, images: Tensor, p: Tensor | float, generator: torch.Generator | None = None) -> None:
        self.n, self.device, self.dtype = len(images), images.device, images.dtype
        self.p, self.generator = p, generator

    def uniform(self, *shape: int) -> Tensor:
        """[N, *shape] from U[0, 1)."""
        return draw_rows(
            lambda n: torch.rand((n, *shape), generator=self.generator, device=self.device, dtype=self.dtype),
            self.n,
        )

    def normal(self, *shape: int) -> Tensor:
        """[N, *shape] from N(0, 1)."""
        return draw_rows(
            lambda n: torch.randn(
                (n, *shape), generator=self.generator, device=self.device, dtype=self.dtype
            ),
            self.n,
        )

    def given(self, p: Tensor | float | None = None) -> Tensor:
        """bool [N]: which images are given a transform; p: another probability than the pipeline's."""
        return self.uniform() < (self.p if p is None else p)

    def choice(self, options: int) -> Tensor:
        """int64 [N]: one of 0 .. options - 1 where given, 0 elsewhere."""
        return torch.where(self.given(), (self.uniform() * options).long(), 0)

    def angle(self, p: Tensor | float | None = None) -> Tensor:
        """[N]: U(-pi, pi) where given, 0 elsewhere."""
        return torch.where(self.given(p), (self.uniform() * 2 - 1) * math.pi, 0.0)

    def factor(self, octaves: float) -> Tensor:
        """[N]: log-normal, 2^N(0, octaves^2), where given, 1 elsewhere."""
        return torch.where(self.given(), torch.exp2(self.normal() * octaves), 1.0)

    def shift(self, std: float, *shape: int) -> Tensor:
        """[N, *shape]: N(0, std^2) where given, 0 elsewhere."""
        given = self.given().view(self.n, *([1] * len(shape)))
        return torch.where(given, self.normal(*shape) * std, 0.0)
