"""gan-lt and the scripts: statuses, one line for bad input, and SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_lt.cli import main
from gan_lt.commands import run_command, train_command
from gan_lt.errors import InputError
from tests.commands.runs import TINY

ROOT = Path(__file__).parents[2]


def test_gan_lt_names_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "'trian'" in capsys.readouterr().err
    assert main(["--help"]) == 0
    assert "generate" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["--version"]) == 0


def test_interrupted_command_has_its_own_status(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: Any) -> int:
        raise KeyboardInterrupt

    def wrong(_: Any) -> int:
        raise InputError("x: is wrong")

    assert run_command(interrupted, []) == 130
    assert run_command(wrong, []) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: x: is wrong"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:137] DefaultCPUAllocator: not enough memory: you tried\nmore"
        ),
        RuntimeError("cuda_ops: not enough memory for 64 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_lack_of_memory_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def greedy(_: Any) -> int:
        raise error

    assert run_command(greedy, []) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out of memory (")
    assert "eval --batch-size" in line


def test_other_errors_of_the_program_are_not_hidden() -> None:
    def wrong(_: Any) -> int:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        run_command(wrong, [])


def test_script_prints_one_line_and_exits_with_2(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "train.py", "--data", tmp_path / "nowhere", "--outdir", tmp_path / "runs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_script_stopped_by_sigterm_exits_with_0_and_resumes(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run"
    arguments = ["--data", data, "--outdir", tmp_path, "--name", "run", *TINY]
    long = [*arguments, "--kimg", "1000"]
    with open(tmp_path / "stderr", "w") as stderr:
        process = subprocess.Popen([sys.executable, ROOT / "train.py", *map(str, long)], stderr=stderr)
        try:
            deadline = time.monotonic() + 240  # the first run on a machine builds the kernels
            while not (run / "network" / "model.safetensors").exists() and time.monotonic() < deadline:
                assert process.poll() is None
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(timeout=30) == 0  # what Slurm gives by default
        finally:
            process.kill()
    assert "--resume" in (tmp_path / "stderr").read_text().replace("\n", " ")
    seen = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])["kimg"]
    assert train_command(["--resume", str(run), "--kimg", str(seen + 0.016)]) == 0
    last = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])["kimg"]
    assert last == pytest.approx(seen + 0.016)
