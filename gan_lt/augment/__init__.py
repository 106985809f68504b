"""Augmentation that real and generated images share during training."""

from gan_lt.augment.adaptive import AdaptiveAugmentation
from gan_lt.augment.augmentation import Augmentation, DiffAugment
from gan_lt.augment.diffaugment import diff_augment
from gan_lt.augment.pipeline import ada_augment

__all__ = ["AdaptiveAugmentation", "Augmentation", "DiffAugment", "ada_augment", "diff_augment"]
