"""Augmentation that real and generated images share during training."""

from gan_lt.augment.diffaugment import diff_augment

__all__ = ["diff_augment"]
