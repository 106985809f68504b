"""The methods: one file each, behind the one interface of `term.py`."""

from gan_lt.regularizers.class_balance import ClassBalance, ClassStatistics, class_balance_loss
from gan_lt.regularizers.class_weights import effective_number, inverse_effective_weights
from gan_lt.regularizers.group_spectral import GroupSpectral, group_spectral_loss, spectral_norms
from gan_lt.regularizers.lecam import LeCam, lecam_loss
from gan_lt.regularizers.noisy_twins import NoisyTwins, class_noise_std, noisy_twins_loss
from gan_lt.regularizers.registry import REGULARIZERS, TermContext, build_terms, generator_form
from gan_lt.regularizers.term import Latents, Phase, StepBatch, Term
from gan_lt.regularizers.transitional import Transitional
from gan_lt.regularizers.utlo import Utlo

__all__ = [
    "REGULARIZERS",
    "ClassBalance",
    "ClassStatistics",
    "GroupSpectral",
    "Latents",
    "LeCam",
    "NoisyTwins",
    "Phase",
    "StepBatch",
    "Term",
    "TermContext",
    "Transitional",
    "Utlo",
    "build_terms",
    "class_balance_loss",
    "class_noise_std",
    "effective_number",
    "generator_form",
    "group_spectral_loss",
    "inverse_effective_weights",
    "lecam_loss",
    "noisy_twins_loss",
    "spectral_norms",
]
