"""Means, spreads and the verdict, from results made by hand."""

from __future__ import annotations

import pytest

from benchmarks.longtail_tables import Cell, figure, markdown, rare_coverage, verdict

COUNTS = [8, 120, 50, 15, 9]  # classes need not come in the order of their counts


def result(fid: float, ifid: float, coverage: float) -> dict:
    rows = [
        {
            "name": f"c{k}",
            "n_train": n,
            "group": "many" if n > 100 else "few" if n < 20 else "medium",
            "ifid": ifid if n < 20 else 1.0,
            "coverage_equal": coverage if n < 20 else 0.9,
        }
        for k, n in enumerate(COUNTS)
    ]
    return {"metrics": {"fid": fid}, "per_class": rows}


def cells(**rows: tuple[float, float, float]) -> dict[str, list[Cell]]:
    return {name.replace("_", " "): [Cell(name, 0, result(*values))] for name, values in rows.items()}


def test_the_rarest_are_found_by_their_counts() -> None:
    assert rare_coverage(result(1, 1, 0.25)) == 0.25


def test_figure() -> None:
    assert figure([1.0, 3.0, None], 2) == "2.00 ± 1.41"
    assert figure([1.0], 1) == "1.0"
    assert figure([None], 1) == "–"


@pytest.mark.parametrize(
    ("all_", "beats"),
    [
        ((1.04, 0.84, 0.60), True),
        ((1.06, 0.84, 0.60), False),  # distance over all 6 % worse
        ((1.00, 0.86, 0.60), False),  # intra-class distance only 14 % better
        ((1.00, 0.84, 0.57), False),  # coverage only 14 % better
    ],
)
def test_the_verdict_needs_all_three(all_, beats) -> None:
    (sentence,) = verdict(cells(baseline=(1.0, 1.0, 0.5), all=all_))
    assert ("all beats the best baseline" in sentence) is beats
    assert ("all does not beat" in sentence) is not beats


def test_the_method_stands_against_the_best_baseline_in_each_measure() -> None:
    rows = cells(baseline=(1.0, 2.0, 0.3), balanced=(2.0, 1.0, 0.5), noisytwins=(1.0, 0.8, 0.6))
    (sentence,) = verdict(rows)
    assert "0.800 against 1.000 (balanced): -20.0%" in sentence
    assert "0.600 against 0.500 (balanced): +20.0%" in sentence
    assert "1.000 against 1.000 (baseline): +0.0%" in sentence


def test_only_seeds_that_all_have_are_compared() -> None:
    rows = cells(baseline=(1.0, 1.0, 0.5), all=(1.0, 0.5, 0.9))
    rows["baseline"].append(Cell("baseline", 1, error="diverged"))
    rows["all"].append(Cell("all", 1, result(9.0, 9.0, 0.0)))
    (sentence,) = verdict(rows)
    assert "beats" in sentence
    assert "(1 seed)" in sentence


def test_a_baseline_that_failed_altogether_is_left_out() -> None:
    rows = cells(baseline=(1.0, 1.0, 0.5), all=(1.0, 0.5, 0.9))
    rows["sqrt"] = [Cell("sqrt", 0, error="diverged")]
    assert "all beats the best baseline (baseline)" in verdict(rows)[0]
    del rows["baseline"]
    assert verdict(rows)[0].startswith("Nothing to judge yet")


def test_what_learns_nothing_is_named() -> None:
    rows = cells(baseline=(1, 1, 0.5), all=(1, 0.5, 0.9), copies=(1, 1, 0.7), mixed_pairs=(1, 1, 0.95))
    _, copies, mixed = verdict(rows)
    assert copies.endswith("copies (0.700): all (0.900).")
    assert mixed.endswith("mixed pairs (0.950): none.")


def test_a_failed_cell_is_shown() -> None:
    rows = cells(baseline=(1.0, 1.0, 0.5))
    rows["gsr"] = [Cell("gsr", 0, error="G/loss is nan")]
    page = markdown(rows, {"machine": "a test"})
    assert "| gsr | 0, 1 failed | – |" in page
    assert "- gsr, seed 0: G/loss is nan" in page
