"""What decided the numbers of an evaluation, as its report records it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.extractors import Extractor
from eval.metric_names import METRICS
from eval.sources import ImageSource
from eval.summary import Findings
from eval.versions import versions


def features_used(extractor: Extractor, dim: int | None) -> dict[str, Any]:
    """What the features are, and by which weights."""
    return {
        "name": extractor.name,
        "dim": dim,
        "weights_hash": extractor.weights_hash,
        "settings": dict(extractor.settings),
    }


def settings_used(
    found: Findings,
    wanted: frozenset[str],
    started: float,
    reference: ImageSource,
    training: ImageSource | None,
    seed: int,
) -> dict[str, Any]:
    """Everything else. reference, training: as opened, before the classes were matched."""
    sides, options = found.sides, found.options
    return {
        "real": sides.real.name,
        "fake": sides.fake.name,
        # what two evaluations must share to be compared, whatever it is called
        "reference_digest": reference.fingerprint(),
        "training_digest": None if training is None else training.fingerprint(),
        "judge_digest": None if found.balance is None else found.balance.digest,
        "n_real": len(sides.real),
        "n_fake": len(sides.fake),
        "n_reference_per_class": len(found.reference_rows[0]) if _equal(found.reference_rows) else None,
        "resolution": {"real": sides.real.resolution, "fake": sides.fake.resolution},
        "channels": sides.real.channels,
        "metrics": sorted(wanted, key=METRICS.index),
        "k": options.k,
        "kid_subset_size": options.kid_subset_size,
        "kid_subsets": options.kid_subsets,
        "replicates": options.replicates,
        "interval": 0.95,
        "many_over": options.many_over,
        "few_under": options.few_under,
        "missing_classes": list(sides.missing),
        "extra_classes": list(sides.extra),
        "not_asked_classes": list(sides.not_asked),
        "n_copied_left_out": sides.fake.n_copied,
        "seed": seed,
        "seconds": round(time.monotonic() - started, 2),
        "versions": versions(),
    }


def _equal(rows: Sequence[npt.NDArray[np.int64]]) -> bool:
    return len({len(chosen) for chosen in rows}) == 1
