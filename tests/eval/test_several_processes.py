"""torchrun -m eval: the features are split over processes, and the numbers are those of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from eval.command import main


class Pool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 4).flatten(1)


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    torch.jit.script(Pool()).save(str(tmp_path / "pool.pt"))
    arguments = [
        "--real",
        "digits",
        "--fake",
        "digits:train",
        "--train",
        "digits:train",
        "--replicates",
        "20",
    ]
    arguments += ["--features", str(tmp_path / "pool.pt"), "--metrics", "fid,ifid,prdc,memorization"]
    arguments += ["--batch-size", "48"]  # neither side is a multiple of it, or of twice it
    assert main([*arguments, "--json", str(tmp_path / "one.json"), "--quiet"]) == 0
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "eval",
    ]
    outputs = ["--json", str(tmp_path / "two.json"), "--quiet", "--cache", str(tmp_path / "cache")]
    subprocess.run(
        [*launch, *arguments, *outputs],
        check=True,
        timeout=240,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    assert two["metrics"] == one["metrics"]
    assert two["per_class"] == one["per_class"]
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
