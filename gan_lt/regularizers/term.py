"""The interface between a method and the training loop.

The loop knows a list of terms. Before a generator pass it lets every term `prepare` the latents; after it, it
hands every term one `StepBatch` and adds what the term returns, times its weight, to the loss of that phase.
A term never reaches into the loop; what it has to remember are its buffers, so it is saved and resumed with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from gan_lt.processes import take_rows

Phase = Literal["generator", "discriminator"]


@dataclass(frozen=True)
class Latents:
    """What a generator pass starts from.

    z: [N, z_dim] float32. y: int64 [N], None when unconditional. embedding_noise: [N, w_dim], added to the class
    embedding before its normalisation, or None. origin: int64 [N], the row of the drawn batch that each latent came from
    where a term has rearranged it, or None.
    """

    z: Tensor
    y: Tensor | None
    embedding_noise: Tensor | None = None
    origin: Tensor | None = None

    def own_rows(self) -> Latents:
        """Of the latents of the whole batch, those of this process."""
        taken = (None if x is None else take_rows(x) for x in (self.y, self.embedding_noise, self.origin))
        return Latents(take_rows(self.z), *taken)


@dataclass(frozen=True)
class StepBatch:
    """What a term sees of one step.

    phase: whose weights the loss goes to. step: optimizer steps made so far. latents: of this generator pass.
    w: [N, w_dim], before it is repeated for the layers, with gradient in the generator step. fake: images
    [N, C, H, W] before augmentation. fake_logits: [N], of the augmented images. real, real_labels, real_logits: the
    real side, before augmentation; None in a generator step that does not use it. fake_features, real_features: of the
    augmented images, [N, feature_dim], from which D computes its logits. low_resolution: the image of the generator's layers
    up to the term's `low_resolution`, None where no term asks for it.
    """

    phase: Phase
    step: int
    latents: Latents
    w: Tensor
    fake: Tensor
    fake_logits: Tensor
    real: Tensor | None = None
    real_labels: Tensor | None = None
    real_logits: Tensor | None = None
    fake_features: Tensor | None = None
    real_features: Tensor | None = None
    low_resolution: Tensor | None = None


class Term(nn.Module):
    """A method, as the loop sees it. Subclasses override what they need; the defaults do nothing.

    Parameters of a term belong to the discriminator: they are trained in its half of the step (further heads, for example).

    Args:
        name: as on the command line and in the statistics.
        weight: multiplies what the loss methods return.

    Attributes:
        low_resolution: size whose image the generator passes shall give as well, None for none; one for all terms.
    """

    low_resolution: int | None = None

    def __init__(self, name: str, weight: float) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"{name}: weight={weight} must be at least 0")
        self.name, self.weight = name, weight

    def prepare(self, latents: Latents, phase: Phase, step: int) -> Latents:
        """The latents of a generator pass, changed as the method needs; called in both phases."""
        return latents

    def generator_loss(self, batch: StepBatch) -> Tensor | None:
        """A scalar to add to the generator's loss, unweighted, or None."""
        return None

    def discriminator_loss(self, batch: StepBatch) -> Tensor | None:
        """A scalar to add to the discriminator's loss, unweighted, or None."""
        return None

    def adversarial_weight(self, step: int) -> float:
        """What multiplies the adversarial loss of D's own logits in this step, in both halves."""
        return 1.0

    def verdict(self, logits: Tensor, features: Tensor, step: int) -> Tensor:
        """The logits [N] that stand for D's whole verdict, where the term adds heads to it.

        logits: [N], D's own. features: [N, feature_dim], that they were computed from.
        """
        return logits

    def statistics(self) -> dict[str, float]:
        """Figures to log once a tick."""
        return {}
