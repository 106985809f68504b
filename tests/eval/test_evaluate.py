"""evaluate: the values in the report are the pure functions' values, and bad input gets one plain line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eval import EvaluationOptions, Report, evaluate, frechet_distance_from_features, kernel_distance, prdc
from eval.comparison import compare
from gan_lt.errors import InputError

Arrays = tuple[np.ndarray, np.ndarray]
OPTIONS = EvaluationOptions(replicates=50)


def flat(images: np.ndarray) -> np.ndarray:
    """8x8 means of digits, as features."""
    return images.reshape(len(images), 8, 2, 8, 2).mean((2, 4)).reshape(len(images), 64) / 255


@pytest.fixture(scope="module")
def report(held_out: Arrays, good_fake: Arrays) -> Report:
    return evaluate(held_out, good_fake, flat, "fid,kid,prdc,ifid", options=OPTIONS)


def test_metrics_are_the_pure_functions(report: Report, held_out: Arrays, good_fake: Arrays) -> None:
    real, fake = flat(held_out[0]).astype(np.float32), flat(good_fake[0]).astype(np.float32)
    assert report.metrics["fid"] == pytest.approx(frechet_distance_from_features(real, fake), rel=1e-9)
    assert report.metrics["kid"] == pytest.approx(kernel_distance(real, fake, 500)[0], rel=1e-9)
    for name, value in prdc(real, fake).items():
        assert report.metrics[name] == pytest.approx(value)


def test_classes_are_measured_on_their_own_images(
    report: Report, held_out: Arrays, good_fake: Arrays
) -> None:
    values = []
    for row in report.per_class:
        real = flat(held_out[0][held_out[1] == int(row["name"])]).astype(np.float32)
        fake = flat(good_fake[0][good_fake[1] == int(row["name"])]).astype(np.float32)
        assert row["ifid"] == pytest.approx(frechet_distance_from_features(real, fake), rel=1e-9)
        assert row["recall"] == pytest.approx(prdc(real, fake)["recall"])
        assert (row["n_real"], row["n_fake"], row["n_reference"]) == (50, 50, 50)
        assert row["intervals"]["ifid"][0] < row["ifid"] < row["intervals"]["ifid"][1]
        values.append(row["ifid"])
    assert report.metrics["ifid"] == pytest.approx(np.mean(values))


def test_report_records_what_another_must_share_to_be_compared(
    held_out: Arrays, good_fake: Arrays, training_rest: Arrays
) -> None:
    def of(images: Arrays, first: int = 0) -> Arrays:
        chosen = images[1] < 2
        return images[0][chosen][first:], images[1][chosen][first:]

    def recorded(real: Arrays, train: Arrays, metrics: str) -> dict[str, Any]:
        return evaluate(real, of(good_fake), flat, metrics, train=train, options=OPTIONS).settings

    first = recorded(of(held_out), of(training_rest), "balance")
    other_training = recorded(of(held_out), of(training_rest, 1), "memorization")
    assert other_training["reference_digest"] == first["reference_digest"]
    assert other_training["training_digest"] != first["training_digest"]
    other_reference = recorded(of(held_out, 1), of(training_rest), "balance")
    assert other_reference["reference_digest"] != first["reference_digest"]
    assert other_reference["training_digest"] == first["training_digest"]
    assert None is not other_reference["judge_digest"] != first["judge_digest"] is not None
    without = evaluate(held_out, good_fake, flat, "fid", options=OPTIONS).settings
    assert (without["training_digest"], without["judge_digest"]) == (None, None)


def test_counts_may_be_a_tensor(held_out: Arrays, good_fake: Arrays) -> None:
    counts = torch.arange(10) + 3
    report = evaluate(held_out, good_fake, flat, "ifid", train_counts=counts, options=OPTIONS)
    assert [row["n_train"] for row in report.per_class] == counts.tolist()


def test_where_nobody_can_tell_which_images_are_the_same_there_is_no_control(
    held_out: Arrays, good_fake: Arrays, training_rest: Arrays
) -> None:
    doubled = held_out[0].repeat(2, axis=2).repeat(2, axis=3)

    def features(images: np.ndarray) -> np.ndarray:
        return flat(images[:, :, :: images.shape[2] // 16, :: images.shape[3] // 16])

    report = evaluate(
        (doubled, held_out[1]), good_fake, features, "memorization", train=training_rest, options=OPTIONS
    )
    assert report.metrics["memorization"] is not None
    assert report.metrics.get("memorization_control") is None
    assert any("nobody can tell which are the same" in text for text in report.warnings)


def test_reference_is_cut_to_equal_numbers(held_out: Arrays, good_fake: Arrays) -> None:
    kept = (held_out[1] != 3) | (np.cumsum(held_out[1] == 3) <= 20)
    uneven = (held_out[0][kept], held_out[1][kept])
    report = evaluate(uneven, good_fake, flat, "ifid", options=OPTIONS)
    assert {row["n_reference"] for row in report.per_class} == {20}
    assert report.settings["n_reference_per_class"] == 20
    assert any("use 20 of each" in warning for warning in report.warnings)
    whole = evaluate(
        uneven, good_fake, flat, "ifid", options=EvaluationOptions(replicates=0, balance_reference=False)
    )
    assert sorted({row["n_reference"] for row in whole.per_class}) == [20, 50]
    assert any("not balanced" in warning for warning in whole.warnings)


def test_coverage_by_many_more_images_than_the_reference_has_is_remarked(held_out: Arrays) -> None:
    rng = np.random.default_rng(0)
    rare = (held_out[1] != 3) | (np.cumsum(held_out[1] == 3) <= 10)
    uneven = (held_out[0][rare], held_out[1][rare])
    options = EvaluationOptions(replicates=0, balance_reference=False)

    def remarks(each: int) -> list[str]:
        labels = np.repeat(np.arange(10), each)
        fake = (rng.integers(0, 256, (len(labels), *held_out[0].shape[1:]), dtype=np.uint8), labels)
        return [
            text
            for text in evaluate(uneven, fake, flat, "prdc", options=options).warnings
            if "cover " in text
        ]

    assert not remarks(19)
    (remark,) = remarks(40)
    assert "Up to 4 generated images" in remark
    assert "99.9" in remark


def test_groups_are_means_over_their_classes(held_out: Arrays, good_fake: Arrays) -> None:
    counts = {str(k): n for k, n in enumerate([500, 200, 100, 60, 40, 20, 19, 10, 5, 2])}
    report = evaluate(held_out, good_fake, flat, "ifid", counts, options=OPTIONS)
    groups = {name: entry["classes"] for name, entry in report.groups.items()}
    assert groups == {"many": ["0", "1"], "medium": ["2", "3", "4", "5"], "few": ["6", "7", "8", "9"]}
    few = [row["ifid"] for row in report.per_class if row["group"] == "few"]
    assert report.groups["few"]["ifid"] == pytest.approx(np.mean(few))


def test_same_call_same_numbers(report: Report, held_out: Arrays, good_fake: Arrays) -> None:
    again = evaluate(held_out, good_fake, flat, ("fid", "kid", "prdc", "ifid"), options=OPTIONS)
    assert again.metrics == report.metrics
    assert again.per_class == report.per_class


def test_order_of_images_does_not_matter(report: Report, held_out: Arrays, good_fake: Arrays) -> None:
    order = np.random.default_rng(0).permutation(500)
    shuffled = (good_fake[0][order], good_fake[1][order])
    again = evaluate(held_out, shuffled, flat, "fid,prdc,ifid", options=OPTIONS)
    for name in ("fid", "ifid", "precision", "recall", "coverage"):
        assert again.metrics[name] == pytest.approx(report.metrics[name], rel=1e-6)


def test_json_holds_what_is_promised(report: Report, tmp_path: Path) -> None:
    report.to_json(tmp_path / "deep" / "e.json")
    document = json.loads((tmp_path / "deep" / "e.json").read_text())
    assert {"metrics", "per_class", "groups", "features", "settings"} <= document.keys()
    assert document["features"] == {"name": "flat", "dim": 64, "weights_hash": None, "settings": {}}
    assert {"name", "n_train", "n_real", "n_fake", "ifid", "precision", "recall"} <= document["per_class"][
        0
    ].keys()
    assert document["settings"]["versions"].keys() >= {"gan_lt", "torch", "numpy"}
    again = Report.from_json(tmp_path / "deep" / "e.json")
    assert again.as_dict() == report.as_dict()


def test_what_no_features_measure_needs_none(
    held_out: Arrays, good_fake: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unused(images: np.ndarray) -> np.ndarray:
        raise AssertionError("balance is judged by the small classifier alone")

    real, fake = ((images[labels < 2], labels[labels < 2]) for images, labels in (held_out, good_fake))
    absent = tmp_path / "inception-2015-12-05.pt"
    page = tmp_path / "e.html"
    report = evaluate(real, fake, "inception", "balance", weights=absent, report=page, options=OPTIONS)
    assert report.features == {"name": "none", "dim": None, "weights_hash": None, "settings": {}}
    assert report.metrics["conditional_accuracy"] is not None
    assert not any("features" in warning for warning in report.warnings)
    assert "in 2 classes." in page.read_text("utf-8")
    with pytest.raises(InputError, match="features 'inceptoin' is neither"):
        evaluate(real, fake, "inceptoin", "balance")
    report.print()
    assert "balance" in capsys.readouterr().out
    report.to_json(tmp_path / "e.json")
    assert Report.from_json(tmp_path / "e.json").as_dict() == report.as_dict()
    whole = evaluate(real, fake, flat, "ifid,balance", options=OPTIONS)
    whole.to_json(tmp_path / "whole.json")
    assert whole.metrics["conditional_accuracy"] == report.metrics["conditional_accuracy"]
    comparison = compare(tmp_path / "e.json", tmp_path / "whole.json")
    assert not any("features differ" in warning for warning in comparison.warnings)
    judged = evaluate(real, fake, unused, "balance", options=OPTIONS)
    assert judged.metrics == report.metrics
    own = evaluate(real, fake, "classifier", "balance", options=OPTIONS)
    assert own.features["name"] == "classifier"


def test_only_inception_is_called_fid(report: Report) -> None:
    assert report.distance_name == "FD (flat)"
    assert any("not FID" in warning for warning in report.warnings)


def test_too_few_images_for_neighbours_are_said_not_guessed(held_out: Arrays, good_fake: Arrays) -> None:
    kept = (good_fake[1] != 2) | (np.cumsum(good_fake[1] == 2) <= 5)
    report = evaluate(held_out, (good_fake[0][kept], good_fake[1][kept]), flat, "prdc", options=OPTIONS)
    row = report.per_class[2]
    assert row["n_fake"] == 5
    assert row["precision"] is None
    assert any("not measured for 2" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": "fid,fud"}, "metric 'fud' is unknown"),
        ({"metrics": []}, "metrics is empty"),
        ({"metrics": "memorization"}, "'memorization' needs the training images"),
        ({"metrics": "utility"}, "'utility' needs the training images"),
        ({"features": "vgg"}, "'vgg' is neither"),
        ({"train_counts": [1, 2]}, "2 entries for 10 classes"),
        ({"features": lambda x: np.full((len(x), 4), np.nan)}, "holds nan"),
        ({"features": lambda x: np.zeros((len(x), len(x)))}, "dimensions"),
        ({"fake": "no/such/folder"}, "no/such/folder"),
    ],
)
def test_bad_input_gets_one_line(
    change: dict[str, Any], message: str, held_out: Arrays, good_fake: Arrays
) -> None:
    arguments: dict[str, Any] = {
        "real": held_out,
        "fake": (good_fake[0][:490], good_fake[1][:490]),
        "features": flat,
        "batch_size": 64,
        **change,
    }
    with pytest.raises(InputError, match=message) as caught:
        evaluate(**arguments)
    assert "\n" not in str(caught.value)


def test_different_channels_are_refused(held_out: Arrays, good_fake: Arrays) -> None:
    colour = np.repeat(good_fake[0], 3, axis=1)
    with pytest.raises(InputError, match=r"1 channels and .* has 3"):
        evaluate(held_out, (colour, good_fake[1]), flat)


def test_training_images_in_the_reference_are_in_no_control(
    held_out: Arrays, good_fake: Arrays, training_rest: Arrays
) -> None:
    def mixed(known: int) -> Report:
        real = tuple(
            np.concatenate([kept, seen[:known]]) for kept, seen in zip(held_out, training_rest, strict=True)
        )
        return evaluate(real, good_fake, flat, "memorization", train=training_rest, options=OPTIONS)

    apart, together = mixed(0), mixed(120)
    assert together.metrics["memorization"] == apart.metrics["memorization"]
    for ours, theirs in zip(together.per_class, apart.per_class, strict=True):
        assert ours["memorization_control"] == theirs["memorization_control"] < 1
    assert any("120 of the 620 reference images are training images" in text for text in together.warnings)
    assert not any("are training images" in text for text in apart.warnings)


def test_a_reference_of_training_images_has_no_control(training_rest: Arrays, good_fake: Arrays) -> None:
    real, fake = ((images[labels < 2], labels[labels < 2]) for images, labels in (training_rest, good_fake))
    report = evaluate(real, fake, flat, "balance,memorization", train=real, options=OPTIONS)
    assert report.metrics["memorization_control"] is None
    assert report.metrics["memorization"] is not None
    assert "conditional_accuracy_real" not in report.metrics
    assert any("120 of the 120 reference images are training images" in text for text in report.warnings)


def test_the_ceiling_is_over_the_classes_that_were_made(
    held_out: Arrays, good_fake: Arrays, training_rest: Arrays
) -> None:
    def of(images: Arrays, classes: int) -> Arrays:
        return images[0][images[1] < classes], images[1][images[1] < classes]

    train = of(training_rest, 2)
    swapped = train[0], np.where(train[1] == 1, 0, 1)  # nothing of the classes is recognised
    report = evaluate(
        of(held_out, 3), of(good_fake, 1), flat, "balance", train=swapped, allow_missing=True, options=OPTIONS
    )
    rows = {row["name"]: row["conditional_accuracy_real"] for row in report.per_class}
    assert rows["2"] is None
    assert report.metrics["conditional_accuracy_real"] == rows["0"]


def test_every_source_is_brought_to_the_resolution_asked_for(held_out: Arrays, good_fake: Arrays) -> None:
    seen: list[tuple[int, ...]] = []

    def looking(images: np.ndarray) -> np.ndarray:
        seen.append(images.shape[2:])
        return images.reshape(len(images), -1)[:, :8] / 255

    doubled = good_fake[0].repeat(2, axis=2).repeat(2, axis=3), good_fake[1]
    report = evaluate(held_out, doubled, looking, "fid", resolution=16, options=OPTIONS)
    assert set(seen) == {(16, 16)}
    assert report.settings["resolution"] == {"real": 16, "fake": 16}
    beside = evaluate(held_out, doubled, flat_of_any, "fid", options=OPTIONS)
    assert any("16 pixels wide, generated ones 32" in text for text in beside.warnings)
    with pytest.raises(InputError, match="17"):
        evaluate(held_out, doubled, flat, "fid", resolution=17, options=OPTIONS)


def flat_of_any(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=(1, 2))[:, :8] / 255


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296; it must be a whole number from 0 to 4294967295"),
        ({"num_fake": 2.5}, "--num-fake is 2.5"),
        ({"num_fake": "7"}, "--num-fake is '7'"),
        ({"num_fake": 1}, "--num-fake is 1"),
        ({"truncation_psi": -3}, "--truncation: -3 must be from 0 to 2"),
        ({"truncation_psi": float("nan")}, "--truncation: nan must be from 0 to 2"),
        ({"truncation_psi": "1"}, "--truncation: '1' must be from 0 to 2"),
        ({"train_counts": 5}, "train_counts is 5"),
        ({"train_counts": "5"}, "train_counts is '5'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"metrics": 3}, "metrics is 3"),
        ({"train_counts": [1] * 9 + ["x"]}, "has x for class '9'"),
        ({"train_counts": [1] * 9 + [float("nan")]}, "has nan for class '9'"),
        ({"train_counts": [1] * 9 + [float("inf")]}, "has inf for class '9'"),
    ],
)
def test_numbers_that_cannot_be_measured_with_are_named(
    changed: dict[str, Any], named: str, held_out: Arrays, good_fake: Arrays
) -> None:
    def unused(images: np.ndarray) -> np.ndarray:
        raise AssertionError("measured before the arguments were looked at")

    with pytest.raises(InputError, match=named):
        evaluate(held_out, good_fake, unused, **{"metrics": "ifid", **changed})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("k", 0),
        ("kid_subset_size", 1),
        ("kid_subsets", 0),
        ("replicates", -1),
        ("seed", -1),
        ("seed", 2**32),
        ("k", 2.5),
        ("k", True),
    ],
)
def test_options_that_cannot_be_measured_with_are_named(option: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{option} is {value}"):
        EvaluationOptions(**{option: value})
