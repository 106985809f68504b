"""What the methods cost, at a size of seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.methods import main


def test_every_set_is_timed_beside_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--resolution", "8", "--channels", "8", "--batch", "4", "--rounds", "1"]
    sets = "none,noisytwins+gsr,noisytwins+gsr+cbgan"
    assert main(["--methods", sets, *sizes, "--json", str(tmp_path / "m.json")]) == 0
    result = json.loads((tmp_path / "m.json").read_text())
    assert list(result["seconds"]) == sets.split(",")
    assert min(result["seconds"].values()) > 0
    assert result["cost"]["none"] == 0
    assert "ms a step" in capsys.readouterr().out
