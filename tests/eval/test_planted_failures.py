"""What a generator can do wrong, planted in real images: each is caught by the measure that is for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eval import EvaluationOptions, evaluate
from eval.extractors.classifier import ClassifierExtractor
from eval.report import Report

Arrays = tuple[np.ndarray, np.ndarray]
OPTIONS = EvaluationOptions(replicates=100)
COUNTS = [124, 88, 63, 45, 32, 23, 16, 12, 8, 6]


@pytest.fixture(scope="module")
def honest(held_out: Arrays, good_fake: Arrays, training_rest: Arrays, judge: ClassifierExtractor) -> Report:
    return evaluate(held_out, good_fake, judge, train=training_rest, train_counts=COUNTS, options=OPTIONS)


def rows(report: Report) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in report.per_class}


def test_honest_images_score_well(honest: Report) -> None:
    for row in honest.per_class:
        assert row["recall"] > 0.7, row
        assert row["coverage"] > 0.7, row
        assert row["conditional_accuracy"] > 0.85, row
        assert row["memorization"] < 0.3, row
    assert honest.metrics["balance_kl"] < 0.01
    assert honest.metrics["conditional_accuracy_real"] > 0.95
    assert [row["group"] for row in honest.per_class] == ["many"] + ["medium"] * 5 + ["few"] * 4
    assert honest.groups["few"]["classes"] == ["6", "7", "8", "9"]


def test_a_class_collapsed_to_one_image(
    honest: Report, held_out: Arrays, good_fake: Arrays, judge: ClassifierExtractor
) -> None:
    images, labels = good_fake[0].copy(), good_fake[1]
    images[labels == 9] = images[np.flatnonzero(labels == 9)[0]]
    report = evaluate(held_out, (images, labels), judge, "ifid,prdc", options=OPTIONS)
    before, after = rows(honest), rows(report)
    assert after["9"]["recall"] == 0
    assert after["9"]["coverage"] < 0.3
    assert after["9"]["ifid"] > 3 * before["9"]["ifid"]
    for name in "012345678":
        assert after[name]["recall"] == pytest.approx(before[name]["recall"])


def test_two_classes_with_their_labels_swapped(
    honest: Report, held_out: Arrays, good_fake: Arrays, judge: ClassifierExtractor
) -> None:
    images, labels = good_fake
    swapped = np.choose(labels, [0, 1, 2, 8, 4, 5, 6, 7, 3, 9])
    report = evaluate(held_out, (images, swapped), judge, "balance,ifid", options=OPTIONS)
    after = rows(report)
    assert after["3"]["conditional_accuracy"] < 0.1
    assert after["8"]["conditional_accuracy"] < 0.1
    assert after["0"]["conditional_accuracy"] > 0.9
    assert after["3"]["ifid"] > 5 * rows(honest)["3"]["ifid"]
    assert report.metrics["balance_kl"] < 0.01, "the set as a whole stays balanced: only the labels are wrong"


def test_a_class_that_copies_training_images(
    honest: Report, held_out: Arrays, good_fake: Arrays, training_rest: Arrays, judge: ClassifierExtractor
) -> None:
    images, labels = good_fake[0].copy(), good_fake[1]
    originals = training_rest[0][training_rest[1] == 7][:50].astype(int)
    noise = np.random.default_rng(0).integers(-3, 4, originals.shape)
    images[labels == 7] = np.clip(originals + noise, 0, 255)
    report = evaluate(held_out, (images, labels), judge, "memorization", train=training_rest, options=OPTIONS)
    after = rows(report)
    assert after["7"]["memorization"] == 1
    assert after["7"]["memorization_control"] < 0.3
    assert max(after[name]["memorization"] for name in "012345689") < 0.3
    assert report.gallery is not None
    nearest = min(report.gallery.pairs, key=lambda pair: pair.ratio)
    assert nearest.class_name == "7"
    assert np.abs(nearest.fake.astype(int) - nearest.train).max() <= 3


def test_a_missing_class(held_out: Arrays, good_fake: Arrays, judge: ClassifierExtractor) -> None:
    images, labels = good_fake
    kept = labels != 4
    given = (images[kept], labels[kept])
    with pytest.raises(ValueError, match="no images of '4'"):
        evaluate(held_out, given, judge, options=OPTIONS)
    report = evaluate(held_out, given, judge, allow_missing=True, options=OPTIONS)
    row = rows(report)["4"]
    assert row["n_fake"] == 0
    assert row["recall"] == row["coverage"] == 0
    assert row.get("ifid") is None
    # one class of ten missing from an otherwise balanced set: log(10 / 9)
    assert report.metrics["balance_kl"] == pytest.approx(np.log(10 / 9), abs=0.02)
    assert report.settings["missing_classes"] == ["4"]
    assert any("No generated images of 4" in warning for warning in report.warnings)


def test_noise_moves_the_distance(
    honest: Report, held_out: Arrays, good_fake: Arrays, judge: ClassifierExtractor
) -> None:
    images = good_fake[0].astype(int) + np.random.default_rng(0).integers(-80, 81, good_fake[0].shape)
    report = evaluate(
        held_out, (np.clip(images, 0, 255).astype(np.uint8), good_fake[1]), judge, options=OPTIONS
    )
    low, _ = report.intervals["fid"]
    assert low > honest.intervals["fid"][1]
    assert report.metrics["kid"] > honest.metrics["kid"]
