"""The utility study: arms, tops, intervals, and an answer that follows the data."""

from __future__ import annotations

import numpy as np
import pytest

from eval.sources import ImageSource, from_arrays
from eval.utility import UtilitySettings, recall_measures, utility_study, verdict
from gan_lt.errors import InputError

Arrays = tuple[np.ndarray, np.ndarray]


def test_recall_measures() -> None:
    found = recall_measures(np.array([[1.0, 0.5, 0.25], [1.0, 1.0, 0.0]]))
    np.testing.assert_allclose(found["balanced_accuracy"], [1.75 / 3, 2 / 3])
    np.testing.assert_allclose(found["worst_recall"], [0.25, 0])
    np.testing.assert_allclose(found["harmonic_recall"], [3 / 7, 0])


def long_tailed(arrays: Arrays, counts: list[int]) -> ImageSource:
    images, labels = arrays
    chosen = np.concatenate([np.flatnonzero(labels == k)[:n] for k, n in enumerate(counts)])
    return from_arrays(images[chosen], labels[chosen], "train")


@pytest.mark.slow
def test_good_synthetic_images_help_the_rare_classes(
    training_rest: Arrays, good_fake: Arrays, held_out: Arrays
) -> None:
    """Synthetic images that are as good as real ones must win over a long tail without augmentation."""
    train = long_tailed(training_rest, [40, 30, 20, 12, 8, 5, 4, 3, 2, 2])
    settings = UtilitySettings(seeds=2, images_seen=3500, replicates=300)
    result = utility_study(
        train, from_arrays(*good_fake, "fake"), from_arrays(*held_out, "test"), settings, seed=1
    )
    arms = result["arms"]
    assert list(arms) == ["real", "augmented", "topped_up", "synthetic"]
    assert [arms[arm]["n_train"] for arm in arms] == [126, 126, 400, 400]
    assert arms["topped_up"]["balanced_accuracy"] > arms["real"]["balanced_accuracy"] + 0.1
    assert arms["topped_up"]["worst_recall"] > arms["real"]["worst_recall"]
    for arm in arms.values():
        low, high = arm["intervals"]["balanced_accuracy"]
        assert low <= arm["balanced_accuracy"] <= high
        assert len(arm["per_seed"]["balanced_accuracy"]) == 2
        assert np.mean(list(arm["per_class"].values())) == pytest.approx(arm["balanced_accuracy"])
    assert result["top_up"]["9"] == {"used": 38, "lacking": 0}
    assert not result["settings"]["flips"], "gray images are not mirrored unless asked"
    assert "beats plain augmentation" in verdict(result)


def test_verdict_says_no_clear_difference() -> None:
    def study(value: float, low: float, high: float) -> dict:
        return {
            "differences": {"topped_up": {"balanced_accuracy": {"value": value, "interval": [low, high]}}}
        }

    assert "beats" in verdict(study(0.03, 0.01, 0.05))
    assert "worse" in verdict(study(-0.03, -0.05, -0.01))
    assert "no clear difference" in verdict(study(0.01, -0.01, 0.03))


def test_a_class_without_images_is_named(held_out: Arrays, good_fake: Arrays) -> None:
    images, labels = good_fake
    kept = labels != 9
    lacking = from_arrays(images[kept], labels[kept], "fake")
    train = from_arrays(*good_fake, "train")
    with pytest.raises(InputError, match="class '9' has 50 training and 0 synthetic"):
        utility_study(train, lacking.subset(np.arange(len(lacking))), from_arrays(*held_out, "test"))
    with pytest.raises(InputError, match="seeds is 0"):
        utility_study(train, train, train, UtilitySettings(seeds=0))
