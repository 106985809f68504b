"""Precision, recall, density and coverage against the authors' package, and on sets with known answers."""

from __future__ import annotations

import numpy as np
import pytest

import eval.manifold
from eval import prdc
from gan_lt.errors import InputError


def sets(seed: int, n: int = 120, m: int = 90, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((m, d)) * 0.8 + 0.2


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_the_prdc_package(k: int, seed: int) -> None:
    from prdc import compute_prdc

    real, fake = sets(seed)
    ours, theirs = prdc(real, fake, k), compute_prdc(real, fake, k)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(float(value), rel=1e-6), name


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = sets(2)
    whole = prdc(real, fake)
    monkeypatch.setattr(eval.manifold, "_BLOCK_ENTRIES", 700)
    assert prdc(real, fake) == whole


def test_equal_sets_cover_one_another() -> None:
    real, _ = sets(3)
    result = prdc(real, real.copy())
    assert result["precision"] == result["recall"] == result["coverage"] == 1


def test_a_collapsed_set_has_precision_without_recall() -> None:
    real, _ = sets(4)
    result = prdc(real, np.repeat(real[:1], 40, axis=0))
    assert result["precision"] == 1
    assert result["recall"] == 0
    assert result["coverage"] < 0.2


def test_order_of_images_does_not_matter() -> None:
    real, fake = sets(5)
    rng = np.random.default_rng(0)
    assert prdc(rng.permutation(real), rng.permutation(fake)) == pytest.approx(prdc(real, fake), rel=1e-12)


@pytest.mark.parametrize(
    ("k", "message"), [(0, "k is 0"), (2.5, "k is 2.5"), (90, "with k = 90 at least 91")]
)
def test_bad_neighbours_are_named(k: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prdc(*sets(6), k=k)
