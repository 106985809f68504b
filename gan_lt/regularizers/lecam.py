"""LeCam: keeps the discriminator's logits near where they were, which helps with few images (Tseng et al., CVPR 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_lt.arguments import check_floating, check_number
from gan_lt.errors import InputError
from gan_lt.processes import mean_over_processes
from gan_lt.regularizers.term import StepBatch, Term


def lecam_loss(
    real_logits: Tensor, fake_logits: Tensor, real_ema: Tensor | float, fake_ema: Tensor | float
) -> Tensor:
    """mean(relu(D(real) - a_F)^2) + mean(relu(a_R - D(fake))^2).

    Args:
        real_logits, fake_logits: [N] and [M].
        real_ema, fake_ema: a_R and a_F, the running means of the logits of real and of generated images.

    Returns:
        A scalar.

    Raises:
        ValueError: no logits, no floating-point tensors of them, a mean that is no finite number (of tensors the shape alone is
            checked: their value would wait for the device).

    Source: Tseng et al., "Regularizing GANs under Limited Data", CVPR 2021, eq. 5 (one-sided as in the released method).

    >>> lecam_loss(torch.tensor([2.0]), torch.tensor([-1.0]), 1.0, 0.0)
    tensor(8.)
    """
    check_floating(real_logits, "real_logits", "[N]")
    check_floating(fake_logits, "fake_logits", "[M]")
    for name, ema in [("real_ema", real_ema), ("fake_ema", fake_ema)]:
        if not isinstance(ema, Tensor):
            check_number(ema, name)
        elif ema.numel() != 1:
            raise InputError(f"{name} must be one number, got shape {list(ema.shape)}")
    if not real_logits.numel() or not fake_logits.numel():
        raise ValueError(f"logits are empty: {real_logits.numel()} real, {fake_logits.numel()} generated")
    real_part = torch.relu(real_logits - fake_ema).square().mean()
    return real_part + torch.relu(real_ema - fake_logits).square().mean()


class LeCam(Term):
    """The term, in the discriminator step.

    Args:
        weight: 0.3 for sngan, 0.01 for stylegan2 in the papers that use it.
        decay: of the running means, in [0, 1).
    """

    real_ema: Tensor
    fake_ema: Tensor
    started: Tensor

    def __init__(self, weight: float = 0.01, decay: float = 0.99) -> None:
        super().__init__(name="lecam", weight=weight)
        if not 0 <= decay < 1:
            raise ValueError(f"lecam: decay={decay} must be in [0, 1)")
        self.decay = decay
        self.register_buffer("real_ema", torch.zeros([]))
        self.register_buffer("fake_ema", torch.zeros([]))
        self.register_buffer("started", torch.zeros([]))

    def discriminator_loss(self, batch: StepBatch) -> Tensor | None:
        if batch.real_logits is None:
            return None
        with torch.no_grad():
            # the first batch sets the means: from zero they would pull the logits to zero for hundreds of steps
            keep = self.decay * self.started
            means = torch.stack([batch.real_logits.float().mean(), batch.fake_logits.float().mean()])
            real, fake = mean_over_processes(means)
            # a step that overflowed is skipped; it must not stay here either
            usable = torch.isfinite(real) & torch.isfinite(fake)
            self.real_ema.copy_(torch.where(usable, keep * self.real_ema + (1 - keep) * real, self.real_ema))
            self.fake_ema.copy_(torch.where(usable, keep * self.fake_ema + (1 - keep) * fake, self.fake_ema))
            self.started.copy_(torch.where(usable, 1.0, self.started))
        # copies: the means change in the next round, before this one's backward pass has to be over
        return lecam_loss(batch.real_logits, batch.fake_logits, self.real_ema.clone(), self.fake_ema.clone())

    def statistics(self) -> dict[str, float]:
        return {"real_ema": float(self.real_ema), "fake_ema": float(self.fake_ema)}
