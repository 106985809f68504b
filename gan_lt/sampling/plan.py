"""How many images of which class: what a person asks for, made explicit before anything is sampled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.models import Generator

_SEED_LIMIT = 2**18
_CLASS_LIMIT = 2**17
_INDEX_LIMIT = 2**28


@dataclass(frozen=True)
class SamplingPlan:
    """Images to make of every class of the generator.

    class_names: all classes. counts: int64 [K], images to make. real_counts: real images of each class where they are known
    (of the data that is topped up, else of the training set).
    """

    class_names: tuple[str, ...]
    counts: NDArray[np.int64]
    real_counts: tuple[int, ...] | None

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 [sum of counts]: class by class."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def indices(self) -> NDArray[np.int64]:
        """int64 [sum of counts]: 0, 1, ... in each class."""
        starts = np.cumsum(self.counts) - self.counts
        return np.arange(int(self.counts.sum())) - np.repeat(starts, self.counts)


def image_seeds(seed: int, labels: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """A seed of its own for image `index` of class `label`: seed * 2^45 + label * 2^28 + index, int64 [N].

    Asking for more images or other classes never changes the images of a class.

    Raises:
        InputError: a seed outside 0 to 2^18 - 1.
    """
    if not 0 <= seed < _SEED_LIMIT:
        raise InputError(f"--seed: {seed} must be from 0 to {_SEED_LIMIT - 1}")
    if labels.size and (labels.max() >= _CLASS_LIMIT or indices.max() >= _INDEX_LIMIT):
        raise InputError(
            f"{_CLASS_LIMIT} classes with {_INDEX_LIMIT} images each are the most that seeds are made for"
        )
    return seed * (_CLASS_LIMIT * _INDEX_LIMIT) + labels * _INDEX_LIMIT + indices


def plan_per_class(
    generator: Generator, per_class: int, classes: Sequence[str] | None = None
) -> SamplingPlan:
    """The same number of every class, or of the named ones."""
    if per_class < 1:
        raise InputError(f"--per-class: {per_class} must be at least 1")
    chosen = _chosen(generator, classes)
    return SamplingPlan(generator.class_names, np.where(chosen, per_class, 0), generator.class_counts)


def plan_top_up(
    generator: Generator, data: ImageSet, to: int | None = None, classes: Sequence[str] | None = None
) -> SamplingPlan:
    """What each class of `data` lacks to have as many images as its largest class, or `to`."""
    _require_conditional(generator)
    if set(data.class_names) != set(generator.class_names):
        odd = sorted(set(data.class_names) ^ set(generator.class_names))[0]
        side = "data" if odd in data.class_names else "network"
        raise InputError(
            f"--top-up: class {odd!r} is in the {side} only; the classes of {data.name} and of the network must be the same"
        )
    position = {name: k for k, name in enumerate(data.class_names)}
    have = data.counts[[position[name] for name in generator.class_names]]
    level = int(have.max()) if to is None else to
    if level < 1:
        raise InputError(f"--to: {to} must be at least 1")
    lacking = np.maximum(level - have, 0) * _chosen(generator, classes)
    return SamplingPlan(generator.class_names, lacking, tuple(int(n) for n in have))


def plan_from_file(generator: Generator, file: Path) -> SamplingPlan:
    """Counts from a JSON object {"class name": number}."""
    _require_conditional(generator)
    try:
        wanted = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f'--counts: {file} can\'t be read as JSON ({error}); write {{"class name": number, ...}}'
        ) from error
    if not isinstance(wanted, dict):
        raise InputError(
            f'--counts: {file} holds a {type(wanted).__name__}; write {{"class name": number, ...}}'
        )
    counts = np.zeros(len(generator.class_names), dtype=np.int64)
    for name, number in wanted.items():
        _require_class(generator, str(name), "--counts")
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise InputError(
                f"--counts: {file}: {name!r} asks for {number!r} images; write a whole number, 0 or more"
            )
        counts[generator.class_names.index(str(name))] = number
    return SamplingPlan(generator.class_names, counts, generator.class_counts)


def _chosen(generator: Generator, classes: Sequence[str] | None) -> NDArray[np.bool_]:
    _require_conditional(generator)
    if classes is None:
        return np.ones(len(generator.class_names), dtype=bool)
    for name in classes:
        _require_class(generator, name, "--classes")
    return np.asarray([name in classes for name in generator.class_names])


def _require_class(generator: Generator, name: str, option: str) -> None:
    if name not in generator.class_names:
        raise InputError(
            f"{option}: there is no class {name!r}; the network has {', '.join(generator.class_names)}"
        )


def _require_conditional(generator: Generator) -> None:
    if generator.num_classes == 0:
        raise InputError(
            "--network: is unconditional, so it can't be asked for a class; train one with generator.conditional=true"
        )
