"""Image sets, long-tail profiles, class samplers and batches."""

from gan_lt.data.image_set import ImageSet
from gan_lt.data.loader import BatchLoader
from gan_lt.data.long_tail import long_tail_counts, shot_groups, thin_to_long_tail
from gan_lt.data.opening import open_image_set
from gan_lt.data.samplers import ClassSampler, make_sampler, sampler_for

__all__ = [
    "BatchLoader",
    "ClassSampler",
    "ImageSet",
    "long_tail_counts",
    "make_sampler",
    "open_image_set",
    "sampler_for",
    "shot_groups",
    "thin_to_long_tail",
]
