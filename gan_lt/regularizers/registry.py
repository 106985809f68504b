"""Names on the command line -> terms. Adding a method is one file and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from gan_lt.regularizers.noisy_twins import NoisyTwins
from gan_lt.regularizers.term import Term


@dataclass(frozen=True)
class TermContext:
    """What a term may be built from.

    counts: training images of each class. generator: the network whose parameters a term may watch.
    w_dim: size of w and of the class embedding. settings: the section of the configuration with the term's name.
    """

    counts: Sequence[int]
    generator: nn.Module
    w_dim: int
    settings: Mapping[str, Any]


def _noisy_twins(context: TermContext) -> Term:
    return NoisyTwins(context.counts, context.w_dim, **context.settings)


REGULARIZERS: dict[str, Callable[[TermContext], Term]] = {
    "noisytwins": _noisy_twins,
}


def build_terms(names: Sequence[str], contexts: Mapping[str, TermContext]) -> list[Term]:
    """The terms of these names, in order; `contexts` holds one for each."""
    return [REGULARIZERS[name](contexts[name]) for name in names]
