"""Two evaluations side by side: only what measures the same is subtracted, and means are over the same classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval.comparison import Pair, compare

COUNTS = (100, 40, 4)
DISTANCES_A = (1.0, 2.0, 6.0)
DISTANCES_B = (0.5, 1.0, 30.0)


def evaluation(distances: tuple[float | None, ...], weights: str = "w", names: str = "abc") -> dict[str, Any]:
    known = [value for value in distances if value is not None]
    return {
        "metrics": {"fid": 10.0 + sum(known), "ifid": sum(known) / len(known), "conditional_accuracy": 0.5},
        "intervals": {"fid": [9.0, 12.0]},
        "per_class": [
            {
                "name": name,
                "group": "few",
                "n_train": count,
                "n_real": 10,
                "n_fake": 10,
                "ifid": value,
                "conditional_accuracy": 0.25 * index,
                "intervals": {},
            }
            for index, (name, count, value) in enumerate(zip(names, COUNTS, distances, strict=False))
        ],
        "groups": {},
        "warnings": [],
        "format": 1,
        "features": {"name": "pool", "dim": 4, "weights_hash": weights, "distance_name": "FD"},
        "settings": {"fake": names, "real": "digits"},
    }


def both(
    tmp_path: Path, a: dict[str, Any], b: dict[str, Any]
) -> tuple[dict[str, Pair], list[str], list[Any]]:
    for name, content in (("a", a), ("b", b)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    comparison = compare(tmp_path / "a.json", tmp_path / "b.json")
    return {column.key: pair for column, pair in comparison.whole}, comparison.warnings, comparison.classes


def test_the_same_classes_are_subtracted(tmp_path: Path) -> None:
    whole, warnings, _ = both(tmp_path, evaluation(DISTANCES_A), evaluation(DISTANCES_B))
    assert whole["fid"].sort == pytest.approx(sum(DISTANCES_B) - sum(DISTANCES_A))
    assert whole["ifid"].sort == pytest.approx((31.5 - 9) / 3)
    assert not warnings


def test_a_class_on_one_side_only_is_in_no_mean(tmp_path: Path) -> None:
    two = evaluation(DISTANCES_B[:2], names="ab")
    whole, warnings, classes = both(tmp_path, evaluation(DISTANCES_A), two)
    assert [row["name"] for row, _ in classes] == ["a", "b"]
    assert (whole["ifid"].a, whole["ifid"].b) == ("1.500", "0.750")
    assert whole["ifid"].sort == pytest.approx(-0.75)
    assert whole["conditional_accuracy"].a == "0.125"
    assert whole["fid"].difference == "-"  # one is of three classes, the other of two
    assert whole["fid"].better == ""
    assert any("has the classes c" in text for text in warnings)
    assert any("no difference" in text for text in warnings)


def test_a_class_that_one_side_could_not_measure_is_in_no_mean(tmp_path: Path) -> None:
    lacking = evaluation((0.5, 1.0, None))
    whole, warnings, _ = both(tmp_path, evaluation(DISTANCES_A), lacking)
    assert (whole["ifid"].a, whole["ifid"].b) == ("1.500", "0.750")
    assert any("b.json lacks figures of c" in text for text in warnings)


def test_other_features_give_no_difference(tmp_path: Path) -> None:
    whole, warnings, classes = both(tmp_path, evaluation(DISTANCES_A), evaluation(DISTANCES_B, weights="v"))
    assert [whole[key].difference for key in ("fid", "ifid")] == ["-", "-"]
    assert whole["fid"].a == "19.000"  # both are shown all the same
    assert {pair.difference for _, pairs in classes for pair in pairs[:1]} == {"-"}
    assert whole["conditional_accuracy"].sort == 0  # the classifier sees images, not those features
    assert any("can't be compared" in text for text in warnings)


@pytest.mark.parametrize(
    ("spaces", "weights", "difference"),
    [
        (("pool", "pool"), "ww", "+0.500"),
        (("pool", "pool"), "wv", "-"),
        (("pool", "pixels"), "wv", "-"),
        (("pixels", "pixels"), "wv", "+0.500"),  # whatever the classifier's weights
    ],
)
def test_copies_are_subtracted_where_they_were_looked_for_in_the_same_space(
    tmp_path: Path, spaces: tuple[str, str], weights: str, difference: str
) -> None:
    sides = []
    for share, space, weight in zip((0.25, 0.75), spaces, weights, strict=True):
        side = evaluation(DISTANCES_A, weights=weight)
        side["metrics"]["memorization"] = share
        side["memorization"] = {"space": space}
        for row in side["per_class"]:
            row["memorization"] = share
        sides.append(side)
    whole, _, classes = both(tmp_path, *sides)
    assert whole["memorization"].difference == difference
    assert {pairs[-1].difference for _, pairs in classes} == {difference}
