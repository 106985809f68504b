"""Sampling: seeded images of chosen classes, and balanced sets of them."""

from gan_lt.sampling.images import latents_from_seeds, sample_images

__all__ = ["latents_from_seeds", "sample_images"]
