"""The measures class by class, against a reference with equally many images of every class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.distribution import PRDC, DistributionSettings, compare_distributions
from eval.estimate import Estimate

LabelArray = npt.NDArray[np.int64]

ClassEstimates = dict[str, Estimate | None]


def per_class_distributions(
    real: npt.NDArray[Any],
    real_positions: Sequence[LabelArray],
    fake: npt.NDArray[Any],
    fake_positions: Sequence[LabelArray],
    wanted: Collection[str],
    settings: DistributionSettings,
) -> list[ClassEstimates]:
    """The wanted measures ("frechet", "kid", "prdc") of each class, as `compare_distributions` names them.

    real, fake: features [n, d], [m, d]; *_positions: for each class the rows that are its images. A measure
    that a class has too few images for is None; a class without any fake has recall and coverage 0.
    """
    results: list[ClassEstimates] = []
    for index, (rows_real, rows_fake) in enumerate(zip(real_positions, fake_positions, strict=True)):
        if len(rows_fake) == 0:
            results.append({"recall": Estimate(0.0), "coverage": Estimate(0.0)} if "prdc" in wanted else {})
            continue
        possible = set(wanted)
        if min(len(rows_real), len(rows_fake)) <= settings.k:
            possible.discard("prdc")
        found = compare_distributions(real[rows_real], fake[rows_fake], possible, settings, stream=index + 1)
        estimates: ClassEstimates = dict(found)
        if "prdc" in wanted and "prdc" not in possible:
            estimates.update(dict.fromkeys(PRDC))
        results.append(estimates)
    return results


def balanced_positions(labels: LabelArray, num_classes: int, seed: int) -> list[LabelArray]:
    """For each class the rows of a seeded choice of equally many images: as many as the smallest class
    has.
    """
    rows = [np.flatnonzero(labels == index) for index in range(num_classes)]
    smallest = min(len(chosen) for chosen in rows)
    rng = np.random.default_rng(seed)
    return [
        np.sort(rng.choice(chosen, smallest, replace=False)) if len(chosen) > smallest else chosen
        for chosen in rows
    ]
