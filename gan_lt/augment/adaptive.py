"""ADA: augmentation whose strength follows how much the discriminator overfits (Karras et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gan_lt.augment.augmentation import Augmentation
from gan_lt.augment.pipeline import ada_augment, named_transforms
from gan_lt.errors import InputError
from gan_lt.processes import mean_over_processes, world_size


class AdaptiveAugmentation(Augmentation):
    """`ada_augment` with a probability p that keeps r_t = E[sign D(real)] at its target.

    Every `interval` steps p moves by the images seen meanwhile over `speed_kimg` thousand: up where r_t is above the target
    (the discriminator knows its real images too well), down where it is below, within [0, 1].

    Args:
        transforms: as in `ada_augment`.
        p: in [0, 1], at the start, or for good where target is None.
        target: of r_t, in (-1, 1); None keeps p.
        speed_kimg: thousands of real images in which p goes from 0 to 1 at most.
        interval: steps between adjustments.

    Attributes:
        p, signs, seen: float32 scalars, saved: the probability, the sum of signs and the number of logits observed since
            the last adjustment. On several processes, all have the same p.

    Raises:
        ValueError: an argument out of range, an unknown transform.
    """

    p: Tensor
    signs: Tensor
    seen: Tensor

    def __init__(
        self,
        transforms: Sequence[str] = ("bgc",),
        p: float = 0.0,
        target: float | None = 0.6,
        speed_kimg: float = 500.0,
        interval: int = 4,
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise InputError(f"ADA: p={p} must be in [0, 1]")
        if target is not None and not -1 < target < 1:
            raise InputError(f"ADA: target={target} must lie between -1 and 1, or be None for a fixed p")
        if not speed_kimg > 0:
            raise InputError(f"ADA: speed_kimg={speed_kimg} must be above 0")
        if interval < 1:
            raise InputError(f"ADA: interval={interval} must be at least 1 step")
        self.transforms = named_transforms(transforms)
        self.target, self.speed_kimg, self.interval = target, speed_kimg, interval
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("signs", torch.zeros([]))
        self.register_buffer("seen", torch.zeros([]))
        self._overfitting: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        # the training's own random numbers, which are part of its saved state
        return ada_augment(images, self.p, self.transforms)

    @torch.no_grad()
    def observe(self, real_logits: Tensor) -> None:
        # of all processes, so that a checkpoint, which the first one writes, holds them all
        self.signs += mean_over_processes(real_logits.detach().sign().sum()) * world_size()
        self.seen += real_logits.numel() * world_size()

    @torch.no_grad()
    def step(self, steps: int) -> None:
        if steps % self.interval:
            return
        overfitting = self.signs / self.seen.clamp(min=1)
        if self.target is not None:
            move = (overfitting - self.target).sign() * self.seen / (self.speed_kimg * 1000)
            self.p.add_(move).clamp_(0, 1)
        self._overfitting = overfitting
        self.signs.zero_()
        self.seen.zero_()

    def statistics(self) -> dict[str, float]:
        """p, and r_t at the last adjustment."""
        figures = {"p": float(self.p)}
        if self._overfitting is not None:
            figures["overfitting"] = float(self._overfitting)
        return figures
