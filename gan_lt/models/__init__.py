"""Networks: the StyleGAN2 generator and discriminator, saved and loaded without pickle."""

from gan_lt.models.discriminator import Discriminator
from gan_lt.models.generator import Generator

__all__ = ["Discriminator", "Generator"]
