"""How many images of which class: what a person asks for, made explicit before anything is sampled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gan_lt.class_names import all_composed, composed
from gan_lt.classifier import Classifier
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.models import ImageGenerator

SEED_LIMIT = 2**18
_CLASS_LIMIT = 2**17
_INDEX_LIMIT = 2**28


@dataclass(frozen=True)
class SamplingPlan:
    """Images to make of every class of the generator.

    class_names: all classes, in NFC. counts: int64 [K], images to make. real_counts: real images of each class where they
    are known (of the data that is topped up, else of the training set).
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
    if not 0 <= seed < SEED_LIMIT:
        raise InputError(f"--seed: {seed} must be from 0 to {SEED_LIMIT - 1}")
    if labels.size and (labels.max() >= _CLASS_LIMIT or indices.max() >= _INDEX_LIMIT):
        raise InputError(
            f"{_CLASS_LIMIT} classes with {_INDEX_LIMIT} images each are the most that seeds are made for"
        )
    return seed * (_CLASS_LIMIT * _INDEX_LIMIT) + labels * _INDEX_LIMIT + indices


@dataclass(frozen=True)
class _Classes:
    names: tuple[str, ...]
    counts: tuple[int, ...] | None


def plan_per_class(
    generator: ImageGenerator,
    per_class: int,
    classes: Sequence[str] | None = None,
    classifier: Classifier | None = None,
) -> SamplingPlan:
    """The same number of every class, or of the named ones.

    classifier: gives an unconditional network its classes.

    Raises:
        InputError: no classes, an unknown one, no whole number from 1 to 2^28.
    """
    _require_number(per_class, "--per-class")
    known = _classes(generator, classifier)
    return SamplingPlan(known.names, np.where(_chosen(known, classes), per_class, 0), known.counts)


def plan_top_up(
    generator: ImageGenerator,
    data: ImageSet,
    to: int | None = None,
    classes: Sequence[str] | None = None,
    classifier: Classifier | None = None,
) -> SamplingPlan:
    """What each class of `data` lacks to have as many images as its largest class, or `to`.

    classifier: gives an unconditional network its classes.

    Raises:
        InputError: no classes, other classes than the data's, a level that is no whole number from 1 to 2^28.
    """
    known = _classes(generator, classifier)
    if set(data.class_names) != set(known.names):
        odd = sorted(set(data.class_names) ^ set(known.names))[0]
        side = "data" if odd in data.class_names else "network"
        raise InputError(
            f"--top-up: class {odd!r} is in the {side} only; the classes of {data.name} and of the network must be the same"
        )
    position = {name: k for k, name in enumerate(data.class_names)}
    have = data.counts[[position[name] for name in known.names]]
    if to is not None:
        _require_number(to, "--to")
    level = int(have.max()) if to is None else to
    lacking = np.maximum(level - have, 0) * _chosen(known, classes)
    return SamplingPlan(known.names, lacking, tuple(int(n) for n in have))


def plan_from_file(
    generator: ImageGenerator, file: Path, classifier: Classifier | None = None
) -> SamplingPlan:
    """Counts from a JSON object {"class name": number}.

    classifier: gives an unconditional network its classes.

    Raises:
        InputError: no classes, a file that can't be read, an unknown class, a number that is none.
    """
    known = _classes(generator, classifier)
    try:
        wanted = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"--counts: {file} can't be read ({error.strerror}); name a JSON file of numbers by class"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f'--counts: {file} is not JSON ({error}); write {{"class name": number, ...}}'
        ) from error
    if not isinstance(wanted, dict):
        raise InputError(
            f'--counts: {file} holds a {type(wanted).__name__}; write {{"class name": number, ...}}'
        )
    counts = np.zeros(len(known.names), dtype=np.int64)
    asked: set[str] = set()
    for written, number in wanted.items():
        name = composed(str(written))
        _require_class(known, name, "--counts")
        if name in asked:
            raise InputError(
                f"--counts: {file} names {name!r} in two Unicode forms; keep one of the two entries"
            )
        asked.add(name)
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise InputError(
                f"--counts: {file}: {name!r} asks for {number!r} images; write a whole number, 0 or more"
            )
        if number > _INDEX_LIMIT:
            raise InputError(
                f"--counts: {file}: {name!r} asks for {number} images; {_INDEX_LIMIT} of a class are the most"
            )
        counts[known.names.index(name)] = number
    return SamplingPlan(known.names, counts, known.counts)


def _require_number(number: int, option: str) -> None:
    if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
        raise InputError(f"{option}: {number!r} must be a whole number of at least 1")
    if number > _INDEX_LIMIT:
        raise InputError(f"{option}: {number} is too many; {_INDEX_LIMIT} of a class are the most")


def _chosen(known: _Classes, classes: Sequence[str] | None) -> NDArray[np.bool_]:
    if classes is None:
        return np.ones(len(known.names), dtype=bool)
    wanted = all_composed(classes)
    for name in wanted:
        _require_class(known, name, "--classes")
    return np.asarray([name in wanted for name in known.names])


def _require_class(known: _Classes, name: str, option: str) -> None:
    if name not in known.names:
        raise InputError(f"{option}: there is no class {name!r}; the network has {', '.join(known.names)}")


def _classes(generator: ImageGenerator, classifier: Classifier | None) -> _Classes:
    if generator.num_classes > 0:
        return _Classes(all_composed(generator.class_names), generator.class_counts)
    if classifier is None:
        raise InputError(
            "--network: is unconditional, so it can't be asked for a class; pass --classifier FILE to sort its images, or "
            "train one with generator.conditional=true"
        )
    counts = classifier.class_counts
    return _Classes(classifier_names(classifier), None if counts is None else tuple(counts))


def classifier_names(classifier: Classifier) -> tuple[str, ...]:
    """The classes of a classifier in NFC, "0", "1", ... where it was saved without names."""
    return all_composed(classifier.class_names or (str(k) for k in range(classifier.num_classes)))
