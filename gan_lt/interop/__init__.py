"""Networks from elsewhere: StyleGAN2-ADA files become a Generator and a Discriminator of gan_lt."""

from gan_lt.interop.stylegan2_ada import load_stylegan2_ada

__all__ = ["load_stylegan2_ada"]
