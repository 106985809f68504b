"""The methods: one file each, behind the one interface of `term.py`."""

from gan_lt.regularizers.class_weights import effective_number, inverse_effective_weights
from gan_lt.regularizers.noisy_twins import NoisyTwins, class_noise_std, noisy_twins_loss
from gan_lt.regularizers.registry import REGULARIZERS, TermContext, build_terms
from gan_lt.regularizers.term import Latents, Phase, StepBatch, Term

__all__ = [
    "REGULARIZERS",
    "Latents",
    "NoisyTwins",
    "Phase",
    "StepBatch",
    "Term",
    "TermContext",
    "build_terms",
    "class_noise_std",
    "effective_number",
    "inverse_effective_weights",
    "noisy_twins_loss",
]
