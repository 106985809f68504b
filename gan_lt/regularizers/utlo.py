"""UTLO: the low-resolution layers are trained without classes, so rare classes share what all have in common.

Source: Khorram, Jiang, Shahbazi, Danesh, Li, "Taming the Tail in Class-Conditional GANs: Knowledge Sharing via
Unconditional Training at Lower Resolutions", CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from gan_lt.losses import AdversarialLoss
from gan_lt.regularizers.term import StepBatch, Term


class Utlo(Term):
    """The term: an unconditional adversarial loss on the image of the generator's layers up to a low resolution.

    The generator has to be built with `unconditional_resolution`, so that these layers don't see the class.

    Args:
        head: low-resolution images [N, C, r, r] -> unconditional logits [N]; its own parameters are trained with the
            discriminator and saved with the term.
        adversarial: the loss of these logits.
        augment: of what the head sees, real and generated.
        resolution: r.
        weight: of the unconditional loss, in both halves of a step [1].
    """

    def __init__(
        self,
        head: nn.Module,
        adversarial: AdversarialLoss,
        augment: Callable[[Tensor], Tensor],
        resolution: int = 8,
        weight: float = 1.0,
    ) -> None:
        super().__init__(name="utlo", weight=weight)
        self.low_resolution = resolution
        self.head, self.adversarial, self.augment = head, adversarial, augment

    def discriminator_loss(self, batch: StepBatch) -> Tensor | None:
        fake, real = self._logits(batch)
        return None if real is None else self.adversarial.discriminator(fake, real).mean()

    def generator_loss(self, batch: StepBatch) -> Tensor | None:
        fake, real = self._logits(batch)
        return self.adversarial.generator(fake, real).mean()

    def _logits(self, batch: StepBatch) -> tuple[Tensor, Tensor | None]:
        if batch.low_resolution is None:
            raise ValueError(
                f"utlo needs the generator's image at {self.low_resolution}x{self.low_resolution}, got None"
            )
        fake = self.head(self.augment(batch.low_resolution))
        if batch.real is None:
            return fake, None
        real = F.adaptive_avg_pool2d(batch.real, batch.low_resolution.shape[-1])
        return fake, self.head(self.augment(real))
