"""Adversarial losses, each a pair of functions of logits [N]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class AdversarialLoss:
    """generator(fake, real) and discriminator(fake, real): logits [N] -> per-image losses [N].

    relativistic: the generator's loss needs the real logits, too.
    """

    generator: Callable[[Tensor, Tensor | None], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]
    relativistic: bool = False


def _rpgan_generator(fake: Tensor, real: Tensor | None) -> Tensor:
    if real is None:
        raise ValueError("the relativistic loss needs the real logits in the generator step, got None")
    return F.softplus(real - fake)


ADVERSARIAL_LOSSES: dict[str, AdversarialLoss] = {
    # non-saturating logistic: Goodfellow et al., NeurIPS 2014
    "logistic": AdversarialLoss(
        generator=lambda fake, _: F.softplus(-fake),
        discriminator=lambda fake, real: F.softplus(fake) + F.softplus(-real),
    ),
    # hinge: Lim & Ye, 2017
    "hinge": AdversarialLoss(
        generator=lambda fake, _: -fake,
        discriminator=lambda fake, real: torch.relu(1 + fake) + torch.relu(1 - real),
    ),
    # relativistic pairing: Jolicoeur-Martineau, ICLR 2019; Huang et al., NeurIPS 2024, eq. 2
    "rpgan": AdversarialLoss(
        generator=_rpgan_generator,
        discriminator=lambda fake, real: F.softplus(fake - real),
        relativistic=True,
    ),
}
