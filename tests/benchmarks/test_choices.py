"""The step's choices beside the usual ways, at a size of seconds: both give the same, and both are timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import choices
from benchmarks.choices import main
from cuda_ops import library

SIZES = ["--batch", "2", "--resolution", "8", "--channels", "8", "--rounds", "1", "--seconds", "0"]


def test_every_choice_is_timed_beside_the_usual_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SIZES, "--json", str(tmp_path / "c.json")]) == 0
    rows = json.loads((tmp_path / "c.json").read_text())["choices"]
    printed = capsys.readouterr().out.splitlines()
    assert len(rows) == len(printed) - 1 == 8 + 2 * library.bfloat16_convolutions()
    for row, line in zip(rows, printed[1:], strict=True):
        assert min(row["ms"], row["usual_ms"], row["gain"]) > 0
        assert line.startswith(row["choice"])


def test_sides_that_do_not_agree_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(x: Tensor, weight: Tensor, style: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(x * style[:, :, None, None], weight, padding=1)

    monkeypatch.setattr(choices, "grouped_convolution", forgetful)
    with pytest.raises(AssertionError):
        main(SIZES)
