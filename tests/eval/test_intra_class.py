"""Class by class: which images stand for a class, and what is said of classes with too few."""

from __future__ import annotations

import numpy as np
import pytest

from eval.distribution import DistributionSettings
from eval.intra_class import balanced_positions, per_class_distributions

LABELS = np.repeat([0, 1, 2], [50, 8, 20])[np.random.default_rng(0).permutation(78)]


def test_every_class_is_as_large_as_the_smallest() -> None:
    chosen = balanced_positions(LABELS, 3, seed=5)
    assert [len(rows) for rows in chosen] == [8, 8, 8]
    for label, rows in enumerate(chosen):
        assert (LABELS[rows] == label).all()
        assert (np.diff(rows) > 0).all()  # in order, none twice
    assert chosen[1].tolist() == np.flatnonzero(LABELS == 1).tolist()


def test_the_choice_is_the_seed_s() -> None:
    first, again, other = (balanced_positions(LABELS, 3, seed) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("side", ["real", "fake"])
def test_neighbours_need_more_than_k_images(side: str) -> None:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((40, 4))
    few, enough, all_rows = np.arange(3), np.arange(4), np.arange(20, 40)
    small, large = [few, enough], [all_rows, all_rows]
    real_rows, fake_rows = (small, large) if side == "real" else (large, small)
    found = per_class_distributions(
        features, real_rows, features, fake_rows, {"frechet", "prdc"}, DistributionSettings(k=3)
    )
    for name in ("precision", "recall", "density", "coverage"):
        assert found[0][name] is None
        assert found[1][name] is not None
    assert found[0]["frechet"] is not None


def test_a_class_that_is_not_made_covers_nothing() -> None:
    features = np.random.default_rng(2).standard_normal((30, 4))
    nobody, rows = np.arange(0), np.arange(15)
    settings = DistributionSettings(k=3)
    both = per_class_distributions(features, [rows, rows], features, [nobody, rows], {"prdc"}, settings)
    assert sorted(both[0]) == ["coverage", "recall"]
    assert [both[0][name].value for name in ("coverage", "recall")] == [0, 0]  # type: ignore[union-attr]
    assert both[1]["coverage"].value == 1  # type: ignore[union-attr]
    (without,) = per_class_distributions(features, [rows], features, [nobody], {"frechet"}, settings)
    assert without == {}
