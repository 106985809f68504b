"""The Python of docs/generation.md runs as it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_lt.generation import generate_parser
from gan_lt.models import Generator
from gan_lt.sampling import plan_per_class, write_synthetic_set

PAGE = Path(__file__).parents[2] / "docs" / "generation.md"


def test_python_of_the_page_runs(
    tmp_path: Path, make_generator: Callable[..., Generator], monkeypatch: pytest.MonkeyPatch
) -> None:
    G = make_generator(
        num_classes=10, resolution=16, class_names=[str(k) for k in range(10)], class_counts=None
    )
    G.save_pretrained(tmp_path / "runs" / "demo" / "network")
    monkeypatch.chdir(tmp_path)
    write_synthetic_set(G, plan_per_class(G, 1), tmp_path / "out", set_format="webdataset")
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        if "webdataset" in block:
            pytest.importorskip("webdataset")
        exec(block, names)  # noqa: S102 - our own page
    assert len(list(names["samples"])) == 10
    assert len(names["rare"]) == 218
    assert np.bincount(names["y_level"])[[0, 9]].tolist() == [50, 50]
    assert names["X_level"].shape == (100, 16, 16, 1)


def test_the_page_has_every_option() -> None:
    text = PAGE.read_text()
    options = {option for action in generate_parser()._actions for option in action.option_strings}
    for option in options - {"-h", "--help", "--device"}:
        assert f"`{option}" in text or f" {option} " in text, option
