"""benchmarks.generation: a share is of one round's figures, and the median of the rounds stands in the JSON."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import generation


def test_shares_are_of_one_round(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # images a second of bare, encoder, files, folder, zip, webdataset in three rounds of a machine that slows down
    rounds = ((100, 900, 500, 90, 95, 80), (50, 900, 500, 40, 45, 35), (10, 900, 500, 9.5, 9, 9))
    figures = (figure for row in rounds for figure in row)

    def measured(images: int, work: Callable[[], object]) -> float:
        return float(next(figures))

    monkeypatch.setattr(generation, "rate", measured)
    file = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["generation", "--images", "10", "--json", str(file)])
    generation.main()
    found = json.loads(file.read_text())
    assert found["bare"]["images_per_second"] == {
        "median": 50,
        "range": [10, 100],
        "in_rounds": [100, 50, 10],
    }
    shares = [90 / 100, 40 / 50, 9.5 / 10]
    assert found["folder"]["share_of_limit"] == {
        "median": statistics.median(shares),
        "range": [0.8, 0.95],
        "in_rounds": shares,
    }
