"""Memorization over all classes, with real images as the control and the nearest pairs to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.alignment import AlignedSources
from eval.extractors import Extractor
from eval.extractors.classifier import MAX_RESOLUTION, read_resized
from eval.gallery import MemorizedPair
from eval.memorization import Memorization, memorization
from eval.sources import ImageSource
from gan_lt.errors import InputError

PAIRS_PER_CLASS = 2


@dataclass
class MeasuredCopies:
    """share, control [K]: copies among generated images and among real ones that are no training images (None:
    no such images, or too few training images).
    """

    space: str
    share: list[float | None]
    control: list[float | None]
    pairs: list[MemorizedPair] = field(default_factory=list)


def measure_memorization(
    extractor: Extractor,
    sides: AlignedSources,
    training: ImageSource,
    extract: Callable[[ImageSource], npt.NDArray[np.float32]],
    known_real: npt.NDArray[np.bool_] | None,
) -> MeasuredCopies:
    """Memorization of the training images class by class, in the extractor's features. known_real [n_real]: which
    images of the reference are training images themselves: the control, of images never seen, leaves them out; None:
    nobody knows, and there is no control.

    With the reference-trained classifier it is measured in pixels: a classifier folds a class together, so
    that its features can't tell a copy from another image of the class. Raises InputError if sizes differ
    there.
    """
    pixels = extractor.name == "classifier"
    if pixels and not training.resolution == sides.fake.resolution == sides.real.resolution:
        raise InputError(
            f"{training.name} is {training.resolution} pixels wide, {sides.fake.name} "
            f"{sides.fake.resolution} and "
            f"{sides.real.name} {sides.real.resolution}; bring them to one size with --resolution"
        )

    def points(source: ImageSource) -> npt.NDArray[Any]:
        if not pixels:
            return extract(source)
        resized = read_resized(source, min(source.resolution, MAX_RESOLUTION))
        return resized.flatten(1).numpy().astype(np.float32) / 255.0

    train_points, fake_points, real_points = points(training), points(sides.fake), points(sides.real)
    result = MeasuredCopies("pixels" if pixels else extractor.name, [], [])
    for index, name in enumerate(sides.class_names):
        known, made, held = (source.of_class(index) for source in (training, sides.fake, sides.real))
        if len(made) == 0 or len(known) < 2:  # one training image has no neighbour to measure nearness by
            result.share.append(None)
            result.control.append(None)
            continue
        try:
            found = memorization(train_points[known], fake_points[made])
        except InputError as error:
            raise InputError(f"class {name!r} of {training.name}: {error}") from None
        result.share.append(found.share)
        held = held[:0] if known_real is None else held[~known_real[held]]
        control = memorization(train_points[known], real_points[held]).share if len(held) else None
        result.control.append(control)
        result.pairs.extend(_closest(found, name, training, known, sides.fake, made))
    return result


def _closest(
    found: Memorization,
    name: str,
    training: ImageSource,
    known: npt.NDArray[np.int64],
    fake: ImageSource,
    made: npt.NDArray[np.int64],
) -> list[MemorizedPair]:
    chosen = np.argsort(found.distance, kind="stable")[:PAIRS_PER_CLASS]
    fakes, originals = fake.read(made[chosen]), training.read(known[found.nearest[chosen]])
    ratios = found.distance[chosen] / found.threshold
    return [
        MemorizedPair(name, made_image, original, float(ratio))
        for made_image, original, ratio in zip(fakes, originals, ratios, strict=True)
    ]
