"""The linter refuses what could run code from a file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUFF = shutil.which("ruff", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")


@pytest.mark.skipif(RUFF is None, reason="ruff is not installed")
@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import pickle\n\npickle.load(open('f', 'rb'))\n", "TID251"),
        ("import torch\n\ntorch.load('f', weights_only=False)\n", "TID251"),
        ("from torch import load\n\nload('f')\n", "TID251"),
        ("import yaml\n\nyaml.load('a')\n", "TID251"),
        ("eval(input())\n", "S307"),
        ("exec(input())\n", "S102"),
        ("import subprocess\n\nsubprocess.run(input(), shell=True)\n", "S602"),
    ],
)
def test_it_is_refused(code: str, rule: str) -> None:
    assert RUFF is not None
    result = subprocess.run(
        [RUFF, "check", "--output-format=concise", "--stdin-filename", "gan_lt/new.py", "-"],
        input=code,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert rule in result.stdout


def test_nothing_asks_torch_to_unpickle() -> None:
    folders = ("gan_lt", "cuda_ops", "eval", "benchmarks")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(sources) > 100
    assert not [path for path in sources if "weights_only=False" in path.read_text(encoding="utf-8")]
