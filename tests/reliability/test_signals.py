"""Signals to a process that trains: the first ends it in order, the second at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint
from tests.conftest import TINY_NETWORKS

ROOT = Path(__file__).parents[2]
TINY = [*TINY_NETWORKS, "training.tick_kimg=0.024", "training.checkpoint_ticks=1"]
# the fifth step, behind the first checkpoint, takes so long that only a second signal can end it
SLOW_STEP = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background of a script inherit that it is ignored
from pathlib import Path
from gan_lt.commands import run_command, train_command
from gan_lt.training import loop
step = loop.training_step
def slow(state, averages):
    step(state, averages)
    if state.step == 5:
        Path(sys.argv[1]).touch()
        for _ in range(600):
            time.sleep(0.1)
loop.training_step = slow
sys.exit(run_command(train_command, sys.argv[2:]))
"""


@pytest.mark.parametrize(("number", "statuses"), [(signal.SIGINT, {130, -2}), (signal.SIGTERM, {143, -15})])
def test_a_second_signal_ends_a_run_at_once(
    tmp_path: Path, number: signal.Signals, statuses: set[int]
) -> None:
    mark, run = tmp_path / "mark", tmp_path / "run"
    arguments = [
        "--data",
        "digits",
        "--outdir",
        str(tmp_path),
        "--name",
        "run",
        "--batch",
        "8",
        "--kimg",
        "9",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_STEP, str(mark), *arguments, *TINY],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 200
        while not mark.exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.05)
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):  # in the middle of a step, the first one waits
            process.wait(timeout=1)
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode in statuses, said
    assert "Traceback" not in said
    (last,) = list_checkpoints(run / "checkpoints")
    assert load_checkpoint(last)["step"] == 3
    assert not [path for path in run.rglob(".*.safetensors.*")]
