"""Sampling: seeded images of chosen classes, and balanced sets of them."""

from gan_lt.sampling.balanced import SyntheticDataset, sample_balanced
from gan_lt.sampling.encoding import Encoding
from gan_lt.sampling.images import latents_from_seeds, sample_images
from gan_lt.sampling.loading import find_network, load_generator
from gan_lt.sampling.over_sampler import GANOverSampler
from gan_lt.sampling.pictures import class_pictures, interpolation_pictures, truncation_pictures
from gan_lt.sampling.plan import SamplingPlan, image_seeds, plan_from_file, plan_per_class, plan_top_up
from gan_lt.sampling.selection import Selection
from gan_lt.sampling.truncation import parse_truncation
from gan_lt.sampling.writing import WrittenSet, write_synthetic_set

__all__ = [
    "Encoding",
    "GANOverSampler",
    "SamplingPlan",
    "Selection",
    "SyntheticDataset",
    "WrittenSet",
    "class_pictures",
    "find_network",
    "image_seeds",
    "interpolation_pictures",
    "latents_from_seeds",
    "load_generator",
    "parse_truncation",
    "plan_from_file",
    "plan_per_class",
    "plan_top_up",
    "sample_balanced",
    "sample_images",
    "truncation_pictures",
    "write_synthetic_set",
]
