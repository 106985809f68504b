"""Names on the command line -> terms. Adding a method is one file and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from gan_lt.errors import InputError
from gan_lt.losses import AdversarialLoss
from gan_lt.regularizers.class_balance import load_class_balance
from gan_lt.regularizers.group_spectral import GroupSpectral
from gan_lt.regularizers.lecam import LeCam
from gan_lt.regularizers.noisy_twins import NoisyTwins
from gan_lt.regularizers.term import Term
from gan_lt.regularizers.transitional import Transitional
from gan_lt.regularizers.utlo import Utlo


@dataclass(frozen=True)
class TermContext:
    """What a term may be built from.

    counts: training images of each class. generator: with the form of the images and the names of the classes.
    discriminator: whose features and blocks a term's further heads may use. adversarial: the configured loss, for these heads.
    augment: the configured augmentation, for the images they judge.
    conditioning: returns the generator's conditioning parameters, tensors [K, d]. w_dim: size of w and of the class embedding.
    settings: the section of the configuration with the term's name.
    """

    counts: Sequence[int]
    generator: nn.Module
    discriminator: nn.Module
    adversarial: AdversarialLoss
    augment: Callable[[Tensor], Tensor]
    conditioning: Callable[[], Sequence[Tensor]]
    w_dim: int
    settings: Mapping[str, Any]


def _noisy_twins(context: TermContext) -> Term:
    return NoisyTwins(context.counts, context.w_dim, **context.settings)


def _group_spectral(context: TermContext) -> Term:
    layers = getattr(context.generator, "conditioning_layers", None)
    return GroupSpectral(context.conditioning, context.counts, layers=layers, **context.settings)


def _class_balance(context: TermContext) -> Term:
    return load_class_balance(generator=context.generator, counts=context.counts, **context.settings)


def _lecam(context: TermContext) -> Term:
    return LeCam(**context.settings)


def _utlo(context: TermContext) -> Term:
    from gan_lt.models.low_resolution_head import LowResolutionHead  # networks take long to import

    settings = dict(context.settings)
    try:
        head = LowResolutionHead(cast(Any, context.discriminator), settings["resolution"])
    except ValueError as error:
        raise InputError(f"utlo: {error}") from error
    return Utlo(head, context.adversarial, context.augment, **settings)


def _transitional(context: TermContext) -> Term:
    from gan_lt.models.layers import FullyConnected

    head = FullyConnected(cast(int, context.discriminator.feature_dim), 1)
    set_class_scale = cast(Callable[[float], None], context.generator.set_class_scale)
    return Transitional(set_class_scale, head, context.adversarial, **context.settings)


REGULARIZERS: dict[str, Callable[[TermContext], Term]] = {
    "noisytwins": _noisy_twins,
    "gsr": _group_spectral,
    "cbgan": _class_balance,
    "lecam": _lecam,
    "utlo": _utlo,
    "transitional": _transitional,
}


# a method may want the generator in a form of its own: its settings -> arguments of the generator
GENERATOR_FORMS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "utlo": lambda settings: {"unconditional_resolution": settings.resolution},
    "transitional": lambda settings: {"fading_classes": True},
}


def generator_form(names: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that these methods want the StyleGAN2 generator built with."""
    form: dict[str, Any] = {}
    for name in names:
        if name in GENERATOR_FORMS:
            form |= GENERATOR_FORMS[name](settings[name])
    return form


def build_terms(names: Sequence[str], contexts: Mapping[str, TermContext]) -> list[Term]:
    """The terms of these names, in order; `contexts` holds one for each."""
    return [REGULARIZERS[name](contexts[name]) for name in names]
