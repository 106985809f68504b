"""Networks: StyleGAN2's and sngan's generators and discriminators, saved and loaded without pickle."""

from gan_lt.models.discriminator import Discriminator
from gan_lt.models.generator import Generator
from gan_lt.models.interface import GeneratorPass, ImageDiscriminator, ImageGenerator
from gan_lt.models.sngan import SnganGenerator
from gan_lt.models.sngan_discriminator import SnganDiscriminator

__all__ = [
    "Discriminator",
    "Generator",
    "GeneratorPass",
    "ImageDiscriminator",
    "ImageGenerator",
    "SnganDiscriminator",
    "SnganGenerator",
]
