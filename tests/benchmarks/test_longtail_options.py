"""The options that messages about images name are options of the grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import benchmarks.longtail as longtail
from gan_lt.errors import InputError


def test_images_of_two_sizes_are_brought_to_one_as_the_message_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, side in (("ant", 8), ("bee", 16)):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((side, side), np.uint8)).save(tmp_path / "set" / name / "0.png")
    (tmp_path / "list.txt").write_text("ant/0.png 0\nbee/0.png 1")

    def judged(args: object, grid: longtail.Grid, per_class: int) -> None:
        raise InputError(f"opened {grid.train.resolution} of {len(grid.train)}")

    monkeypatch.setattr(longtail, "_open_judge", judged)
    common = [
        "--test",
        "digits:test",
        "--methods=baseline",
        "--seeds=0",
        "--kimg=1",
        f"--outdir={tmp_path / 'out'}",
    ]
    folder, listed = ["--data", str(tmp_path / "set")], ["--data", str(tmp_path / "list.txt")]
    with pytest.raises(InputError, match="pass --resolution N"):
        longtail.main([*folder, *common])
    with pytest.raises(InputError, match="opened 8 of 2"):
        longtail.main([*folder, *common, "--resolution", "8"])
    with pytest.raises(InputError, match="pass --data-root"):
        longtail.main([*listed, *common, "--resolution", "8"])
    with pytest.raises(InputError, match="opened 8 of 2"):
        longtail.main([*listed, *common, "--resolution", "8", "--data-root", str(tmp_path / "set")])
