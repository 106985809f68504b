"""The methods that are compared: a name, and what it changes in the preset. The one place where that stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gan_lt.errors import InputError
from gan_lt.regularizers import REGULARIZERS

SAMPLERS = ("natural", "balanced", "sqrt", "effective")


@dataclass(frozen=True)
class Method:
    """A column of overrides.

    name: as on the command line, also of its folders. regularizers: in order; empty for a baseline. sampler: of real
    images; None leaves the preset's, so methods and the baseline with that sampler see the same images in the same
    order. settings: further `section.field=value`.
    """

    name: str
    regularizers: tuple[str, ...] = ()
    sampler: str | None = None
    settings: tuple[str, ...] = ()

    @property
    def is_baseline(self) -> bool:
        """Whether nothing but the sampler differs."""
        return not self.regularizers

    def overrides(self) -> list[str]:
        """What it sets, as `section.field=value`."""
        sampler = [] if self.sampler is None else [f"data.sampler={self.sampler}"]
        return [f"regularizers=[{', '.join(self.regularizers)}]", *sampler, *self.settings]


METHODS: dict[str, Method] = {
    "baseline": Method("baseline", sampler="natural"),
    **{name: Method(name, sampler=name) for name in SAMPLERS if name != "natural"},
    # lambda 0 leaves the noise on the class embedding and takes the loss away
    "noise": Method("noise", ("noisytwins",), settings=("noisytwins.weight=0",)),
    **{name: Method(name, (name,)) for name in REGULARIZERS},
    "all": Method("all", ("noisytwins", "gsr", "cbgan")),
}


def parse_methods(text: str) -> list[Method]:
    """Methods from a comma-separated list; `a+b` combines regularizers, and one sampler: `noisytwins+gsr+sqrt`.

    `baseline-sqrt` is another name for `sqrt`.

    Raises:
        InputError: an unknown or repeated name, or parts that contradict each other.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"--methods: {text!r} names none; choose from {', '.join(METHODS)} or join with +")
    methods = [_parse(name) for name in names]
    for k, method in enumerate(methods):
        if method.name in (other.name for other in methods[:k]):
            raise InputError(f"--methods: {method.name!r} is named twice; name it once")
    return methods


def _parse(name: str) -> Method:
    plain = name.removeprefix("baseline-")
    if plain != name and plain not in SAMPLERS:
        raise InputError(f"--methods: {name!r}: {plain!r} is no sampler; choose from {', '.join(SAMPLERS)}")
    parts = [Method("baseline", sampler="natural") if p == "natural" else _known(p) for p in plain.split("+")]
    if len(parts) == 1:
        return parts[0]
    return replace(_combined(parts, name), name=plain)


def _known(name: str) -> Method:
    if name not in METHODS:
        raise InputError(
            f"--methods: {name!r} is not known; choose from {', '.join(METHODS)}, or join some with +"
        )
    return METHODS[name]


def _combined(parts: Sequence[Method], name: str) -> Method:
    regularizers = tuple(r for part in parts for r in part.regularizers)
    samplers = [part.sampler for part in parts if part.sampler is not None]
    if len(set(regularizers)) < len(regularizers):
        raise InputError(
            f"--methods: {name!r} has {', '.join(regularizers)}: one of them twice; leave it out"
        )
    if len(samplers) > 1:
        raise InputError(f"--methods: {name!r} has two samplers ({', '.join(samplers)}); leave one")
    settings = tuple(s for part in parts for s in part.settings)
    return Method(name, regularizers, samplers[0] if samplers else None, settings)
