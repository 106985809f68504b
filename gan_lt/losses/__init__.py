"""Adversarial losses and gradient penalties."""

from gan_lt.losses.adversarial import ADVERSARIAL_LOSSES, AdversarialLoss
from gan_lt.losses.penalties import PathLength, gradient_penalty

__all__ = ["ADVERSARIAL_LOSSES", "AdversarialLoss", "PathLength", "gradient_penalty"]
