"""Long-tail profiles and shot groups."""

from __future__ import annotations

import numpy as np
import pytest

from gan_lt.data import ImageSet, long_tail_counts, open_image_set, shot_groups, thin_to_long_tail
from gan_lt.errors import InputError


def _balanced(num_classes: int, per_class: int) -> ImageSet:
    labels = np.tile(np.arange(num_classes), per_class)
    return ImageSet.from_arrays(np.zeros((len(labels), 1, 8, 8), dtype=np.uint8), labels)


def test_published_profiles() -> None:
    cifar = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert long_tail_counts(10, 5000, 100).tolist() == cifar
    assert sum(cifar) == 12406
    assert long_tail_counts(10, 124, 20).tolist() == [124, 88, 63, 45, 32, 23, 16, 12, 8, 6]
    assert long_tail_counts(100, 500, 100).sum() == 10847  # CIFAR-100-LT, ratio 100
    assert long_tail_counts(10, 5000, 10, "step").tolist() == [5000] * 5 + [500] * 5
    assert long_tail_counts(3, 90, 9, "step").tolist() == [90, 90, 10]
    assert long_tail_counts(1, 7, 5).tolist() == [7]


@pytest.mark.parametrize("base", range(2, 12))
def test_exact_powers_are_not_lost_to_rounding(base: int) -> None:
    counts = long_tail_counts(5, 3 * base**4, base**4)
    assert counts.tolist() == [3 * base**4, 3 * base**3, 3 * base**2, 3 * base, 3]


def test_thinning_keeps_the_profile_and_the_order() -> None:
    thinned = thin_to_long_tail(open_image_set("digits"), 20)
    assert thinned.counts.tolist() == [124, 88, 63, 45, 32, 23, 16, 12, 8, 6]
    positions = [int(index) for index in thinned.ids]
    assert positions == sorted(positions)


def test_the_seed_chooses_and_higher_ratios_keep_a_part() -> None:
    full = _balanced(4, 60)
    first = thin_to_long_tail(full, 10, seed=1)
    assert thin_to_long_tail(full, 10, seed=1).ids == first.ids
    assert thin_to_long_tail(full, 10, seed=2).ids != first.ids
    assert set(thin_to_long_tail(full, 30, seed=1).ids) < set(first.ids)
    assert thin_to_long_tail(full, 1).ids == full.ids


def test_impossible_tails_are_refused() -> None:
    for ratio in (0.5, -3.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match=f"--imbalance {ratio:g}"):
            long_tail_counts(10, 100, ratio)
    with pytest.raises(InputError, match=r"--imbalance 200 .*100 at most"):
        long_tail_counts(10, 100, 200)
    with pytest.raises(InputError, match="--profile linear"):
        long_tail_counts(10, 100, 10, "linear")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="0 classes"):
        long_tail_counts(0, 100, 10)
    with pytest.raises(InputError, match="seed -1"):
        thin_to_long_tail(_balanced(2, 4), 2, seed=-1)


def test_shot_groups_at_the_cuts() -> None:
    assert shot_groups([5000, 101, 100, 20, 19, 0]) == ["many", "many", "medium", "medium", "few", "few"]
    assert shot_groups(np.array([9, 10, 11]), many_over=10, few_under=10) == ["few", "medium", "many"]
    with pytest.raises(InputError, match="under 50, many over 10"):
        shot_groups([1], many_over=10, few_under=50)
    with pytest.raises(InputError, match="-2 images"):
        shot_groups([3, -2])
