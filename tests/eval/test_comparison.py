"""Two evaluations side by side: only what measures the same is subtracted, and means are over the same classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval import Report
from eval.comparison import Pair, compare, print_comparison
from gan_lt.errors import InputError

COUNTS = (100, 40, 4)
DISTANCES_A = (1.0, 2.0, 6.0)
DISTANCES_B = (0.5, 1.0, 30.0)


def evaluation(
    distances: tuple[float | None, ...], weights: str = "w", names: Sequence[str] = "abc"
) -> dict[str, Any]:
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
        "settings": {
            "fake": str(names),
            "real": "digits",
            "n_real": 30,
            "n_fake": 30,
            "k": 5,
            "judge_digest": "j",
        },
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


def with_neighbours(side: dict[str, Any], recall: float = 0.5) -> dict[str, Any]:
    """The evaluation with KID and neighbour shares, whole and by class, whose intervals are narrow."""
    for values in (side["metrics"], *side["per_class"]):
        values |= {"kid": recall / 100, "recall": recall}
        intervals = side["intervals"] if values is side["metrics"] else values["intervals"]
        intervals |= {"kid": [recall / 100] * 2, "recall": [recall] * 2}
    side["metrics"]["balance_kl"] = 0.1
    return side


def test_another_judge_gives_no_difference_in_what_it_recognised(tmp_path: Path) -> None:
    a, b = with_neighbours(evaluation(DISTANCES_A)), with_neighbours(evaluation(DISTANCES_B))
    b["settings"]["judge_digest"] = "k"
    whole, warnings, classes = both(tmp_path, a, b)
    assert [whole[key].difference for key in ("conditional_accuracy", "balance_kl")] == ["-", "-"]
    assert {pairs[-1].difference for _, pairs in classes} == {"-"}
    assert whole["fid"].sort is not None
    assert any("judged differ" in text for text in warnings)


def test_an_older_report_without_digest_has_the_judge_of_the_same_reference_and_seed(tmp_path: Path) -> None:
    old, new = evaluation(DISTANCES_A), evaluation(DISTANCES_A)
    del old["settings"]["judge_digest"]
    whole, _, warnings = both(tmp_path, old, new)
    assert whole["conditional_accuracy"].difference not in ("-", "")
    assert not any("judged differ" in text for text in warnings)


def test_the_classifier_whose_features_differ_is_another_judge_in_older_reports_too(tmp_path: Path) -> None:
    sides = [evaluation(DISTANCES_A, weights=weights) for weights in "wv"]
    for side in sides:
        side["features"]["name"] = "classifier"
        del side["settings"]["judge_digest"]
    whole, _, _ = both(tmp_path, *sides)
    assert whole["conditional_accuracy"].difference == "-"


@pytest.mark.parametrize(
    ("settings_a", "settings_b", "difference"),
    [
        ({}, {"real": "cifar10"}, "-"),  # reports without digests go by the name
        ({"reference_digest": "1"}, {"reference_digest": "2"}, "-"),  # another split of the same name
        ({"reference_digest": "1"}, {"reference_digest": "1", "real": "moved"}, "+22.500"),
    ],
)
def test_another_reference_gives_no_difference_in_distances(
    tmp_path: Path, settings_a: dict[str, Any], settings_b: dict[str, Any], difference: str
) -> None:
    a, b = with_neighbours(evaluation(DISTANCES_A)), with_neighbours(evaluation(DISTANCES_B), 0.9)
    a["settings"] |= settings_a
    b["settings"] |= settings_b
    whole, warnings, classes = both(tmp_path, a, b)
    assert whole["fid"].difference == difference
    compared = difference != "-"
    assert [whole[key].better for key in ("recall", "kid")] == (["b", "a"] if compared else ["", ""])
    assert all((pair.difference != "-") == compared for _, pairs in classes for pair in pairs[:3])
    assert any("references differ" in text for text in warnings) != compared


def test_other_numbers_of_neighbours_give_no_difference_in_shares_of_neighbours(tmp_path: Path) -> None:
    a, b = with_neighbours(evaluation(DISTANCES_A)), with_neighbours(evaluation(DISTANCES_B))
    b["settings"]["k"] = 3
    whole, _, _ = both(tmp_path, a, b)
    assert whole["recall"].difference == "-"
    assert whole["kid"].difference == "+0.000"


def test_other_training_images_give_no_difference_in_copies_of_them(tmp_path: Path) -> None:
    sides = [evaluation(DISTANCES_A), evaluation(DISTANCES_A)]
    for digest, side in zip("12", sides, strict=True):
        side["settings"]["training_digest"] = digest
        side["metrics"]["memorization"] = 0.5
        side["memorization"] = {"space": "pool"}
    whole, warnings, _ = both(tmp_path, *sides)
    assert whole["memorization"].difference == "-"
    assert any("training images differ" in text for text in warnings)


def test_biased_figures_are_not_marked_better_where_the_numbers_of_images_differ(tmp_path: Path) -> None:
    a, b = with_neighbours(evaluation(DISTANCES_A)), with_neighbours(evaluation(DISTANCES_B), 0.9)
    b["settings"]["n_fake"] = 20
    b["per_class"][0]["n_fake"] = 5
    whole, _, classes = both(tmp_path, a, b)
    assert whole["recall"].sort == pytest.approx(0.4)
    assert (whole["recall"].better, whole["kid"].better) == ("", "a")  # the kernel distance is unbiased
    by_name = {row["name"]: [pair.better for pair in pairs[1:3]] for row, pairs in classes}
    assert by_name == {"a": ["a", ""], "b": ["a", "b"], "c": ["a", "b"]}


def test_distances_on_features_of_two_names_have_both_names(tmp_path: Path) -> None:
    a, b = evaluation(DISTANCES_A), evaluation(DISTANCES_B)
    a["features"]["name"] = "inception"
    for name, content in (("a", a), ("b", b)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    comparison = compare(tmp_path / "a.json", tmp_path / "b.json")
    assert comparison.whole[0][0].title == "FID / FD (pool)"
    assert [column.title for column in comparison.columns] == ["intra FID / FD (pool)", "recognised"]


def test_names_with_brackets_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [evaluation(DISTANCES_A, names=["[bold]cat", "dog[/red]", "c"]) for _ in "ab"]
    for side, name in zip(sides, ("set[0-9].tar", "x[/x]"), strict=True):
        side["settings"]["fake"] = name
        (tmp_path / f"{name[:1]}.json").write_text(json.dumps(side))
    print_comparison(compare(tmp_path / "s.json", tmp_path / "x.json"))
    Report.from_json(tmp_path / "s.json").print()
    shown = capsys.readouterr().out
    for name in ("[bold]cat", "dog[/red]", "set[0-9].tar", "x[/x]"):
        assert name in shown
    assert shown.count("[bold]cat") == 2


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("per_class", 3, "per_class"),
        ("per_class", [{}], "per_class.0.name"),
        ("per_class", [{"name": "a", "intervals": {}, "ifid": "x"}], "per_class.0.ifid"),
        ("per_class", [{"name": "a", "intervals": {}, "n_train": "3"}], "per_class.0.n_train"),
        ("metrics", {"fid": "1.5"}, "metrics.fid"),
        ("intervals", {"fid": [1]}, "intervals.fid"),
        ("features", {"name": "pool"}, "features.weights_hash"),
        ("settings", [], "settings"),
        ("memorization", 3, "memorization"),
    ],
)
def test_what_is_no_evaluation_is_named(tmp_path: Path, key: str, value: Any, place: str) -> None:
    with pytest.raises(InputError, match=f"b.json is not an evaluation: {place}"):
        both(tmp_path, evaluation(DISTANCES_A), evaluation(DISTANCES_B) | {key: value})


def test_json_too_deep_to_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="is not JSON"):
        compare(tmp_path / "deep.json", tmp_path / "deep.json")
