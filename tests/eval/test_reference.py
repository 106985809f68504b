"""The reference that training measures against gives what evaluate gives."""

from __future__ import annotations

import numpy as np
import pytest

from eval import EvaluationOptions, evaluate
from eval.reference import Reference
from gan_lt.errors import InputError

Arrays = tuple[np.ndarray, np.ndarray]


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), 8, 2, 8, 2).mean((2, 4)).reshape(len(images), 64) / 255


def test_same_values_as_evaluate(held_out: Arrays, good_fake: Arrays) -> None:
    calls = []

    def counted(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return flat(images)

    reference = Reference(held_out, counted)
    assert sum(calls) == 500
    report = evaluate(held_out, good_fake, flat, "fid,ifid,kid,prdc", options=EvaluationOptions(replicates=0))
    for _ in range(2):
        measured = reference.measure(*good_fake, metrics="fid, ifid, kid, prdc")
        for name, value in measured.items():
            assert value == pytest.approx(report.metrics[name], rel=1e-6), name
    assert list(measured) == ["fid", "ifid", "kid", "precision", "recall", "density", "coverage"]
    assert sum(calls) == 1500, "the reference's features are computed once"
    assert reference.distance_name == "FD (counted)"


def test_bad_input_is_named(held_out: Arrays, good_fake: Arrays) -> None:
    reference = Reference(held_out, flat)
    with pytest.raises(InputError, match="'utility' can't be measured"):
        reference.measure(*good_fake, metrics="utility")
    kept = good_fake[1] != 4
    with pytest.raises(InputError, match="no images of '4'"):
        reference.measure(good_fake[0][kept], good_fake[1][kept])
