"""What the training step knows of augmentation: a function of images that may watch the discriminator's verdict."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from gan_lt.augment.diffaugment import diff_augment


class Augmentation(nn.Module):
    """No augmentation, and the interface of every other. What one has to remember are its buffers: they are saved."""

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] in [-1, 1], real or generated -> augmented ones, with gradient."""
        return images

    def observe(self, real_logits: Tensor) -> None:
        """Look at the discriminator's logits [N] of augmented real images, in every round of its half of a step."""

    def step(self, steps: int) -> None:
        """Adapt after an optimizer step; `steps` have been made so far."""

    def statistics(self) -> dict[str, float]:
        """Figures to log once a tick."""
        return {}


class DiffAugment(Augmentation):
    """`diff_augment` with a policy."""

    def __init__(self, policy: Sequence[str]) -> None:
        super().__init__()
        self.policy = tuple(policy)

    def forward(self, images: Tensor) -> Tensor:
        return diff_augment(images, self.policy)
