"""benchmarks.faults: killed, stopped and powerless runs and sets end with the bytes of undisturbed ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.left_on_disk import bytes_that_differ

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_struck_runs_and_sets_end_as_undisturbed_ones(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.faults",
            "--kills",
            "12",
            "--seed",
            "1",
            "--json",
            str(tmp_path / "faults.json"),
        ],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    account = json.loads((tmp_path / "faults.json").read_text())
    for name in ("training", "generating"):
        found = account[name]
        assert (found["kills"], found["failures"]) == (6, 0)
        assert found["resumes"] >= 1
        assert found["bytes_that_differ"] + found["images_lost"] + found["images_doubled"] == 0
        assert found["files_left_behind"] == 0


def test_the_comparison_sees_every_byte() -> None:
    assert bytes_that_differ({"a": b"123", "b": b""}, {"a": b"123", "b": b""}) == 0
    assert bytes_that_differ({"a": b"123"}, {"a": b"103"}) == 1
    assert bytes_that_differ({"a": b"123"}, {"a": b"1234", "c": b"xy"}) == 3
