"""Transitional-cGAN: training starts without classes, and conditioning is faded in.

Source: Shahbazi, Danelljan, Paudel, Van Gool, "Collapse by Conditioning: Training Class-conditional GANs with Limited
Data", ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from gan_lt.errors import InputError
from gan_lt.losses import AdversarialLoss
from gan_lt.regularizers.term import Latents, Phase, StepBatch, Term


def transition(step: int, start_step: int, end_step: int) -> float:
    """lambda_t: 0 up to start_step, 1 from end_step, linear between.

    >>> [transition(step, 100, 200) for step in (0, 100, 150, 300)]
    [0.0, 0.0, 0.5, 1.0]
    """
    return min(max((step - start_step) / (end_step - start_step), 0.0), 1.0)


class Transitional(Term):
    """The term: L = share_t * L_unconditional + lambda_t * L_conditional, and lambda_t times the class embedding.

    share_t goes from 1 to `remaining` while lambda_t goes from 0 to 1.

    Args:
        set_class_scale: sets the factor on the generator's class embedding.
        head: the discriminator's features [N, d] -> unconditional logits [N, 1]; trained with it, saved with the term.
        adversarial: the loss of these logits, and of the conditional ones.
        start_step, end_step: optimizer steps between which lambda_t rises.
        weight: of the unconditional loss [1].
        remaining: share of it that stays after the transition, in [0, 1]; 0 hands over from one loss to the other.

    Raises:
        ValueError: end_step not after start_step, remaining out of range.
    """

    def __init__(
        self,
        set_class_scale: Callable[[float], None],
        head: nn.Module,
        adversarial: AdversarialLoss,
        start_step: int = 15625,
        end_step: int = 31250,
        weight: float = 1.0,
        remaining: float = 1.0,
    ) -> None:
        super().__init__(name="transitional", weight=weight)
        if not 0 <= start_step < end_step:
            raise InputError(
                f"transitional: end_step={end_step} must come after start_step={start_step}, which is 0 or more"
            )
        if not 0 <= remaining <= 1:
            raise InputError(f"transitional: remaining={remaining} must be in [0, 1]")
        self.set_class_scale, self.head, self.adversarial = set_class_scale, head, adversarial
        self.start_step, self.end_step, self.remaining = start_step, end_step, remaining
        self._progress = 0.0

    def prepare(self, latents: Latents, phase: Phase, step: int) -> Latents:
        """Sets the factor on the class embedding; it is the generator's own, so sampling has it too."""
        self._progress = self.adversarial_weight(step)
        self.set_class_scale(self._progress)
        return latents

    def adversarial_weight(self, step: int) -> float:
        return transition(step, self.start_step, self.end_step)

    def share(self, step: int) -> float:
        """share_t, what the unconditional loss counts."""
        return 1 - self.adversarial_weight(step) * (1 - self.remaining)

    def verdict(self, logits: Tensor, features: Tensor, step: int) -> Tensor:
        return self.adversarial_weight(step) * logits + self.weight * self.share(step) * self._logits(
            features
        )

    def discriminator_loss(self, batch: StepBatch) -> Tensor | None:
        if batch.fake_features is None or batch.real_features is None:
            return None
        fake, real = self._logits(batch.fake_features), self._logits(batch.real_features)
        return self.share(batch.step) * self.adversarial.discriminator(fake, real).mean()

    def generator_loss(self, batch: StepBatch) -> Tensor | None:
        if batch.fake_features is None:
            return None
        fake = self._logits(batch.fake_features)
        real = None if batch.real_features is None else self._logits(batch.real_features)
        return self.share(batch.step) * self.adversarial.generator(fake, real).mean()

    def statistics(self) -> dict[str, float]:
        """lambda_t of the last step."""
        return {"lambda": self._progress}

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(features).squeeze(1)
        return logits
