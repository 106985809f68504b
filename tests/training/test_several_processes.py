"""Several processes follow the trajectory of one; they stop, fail and start again together. Started with torchrun."""

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
from torch import Tensor

from gan_lt import processes
from gan_lt.classifier.command import classifier_command
from gan_lt.config import build_config
from gan_lt.errors import InputError
from gan_lt.training import distributed
from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint

ROOT = Path(__file__).parents[2]
TINY = [
    *["--data", "digits", "data.resolution=8", "--imbalance", "20", "--batch", "16", "--kimg", "0.32"],
    *["generator.z_dim=16", "generator.w_dim=16", "generator.channel_base=64", "generator.channel_max=16"],
    *["generator.mapping_layers=2", "discriminator.mapping_layers=1", "discriminator.mbstd_group_size=4"],
    *["training.tick_kimg=0.08", "training.checkpoint_ticks=1", "training.keep_checkpoints=9"],
    *["loss.r1_gamma=1", "loss.penalty_interval=4", "training.threads=1"],
    # what one and several processes round differently grows with every step: to 1e-4 in float32, to 1e-2 in bfloat16
    "training.precision=fp32",
]
STYLEGAN = [
    *["loss.path_length_weight=2", "training.style_mixing=0.5", "data.horizontal_flips=true"],
    *["--regularizers", "noisytwins,lecam,gsr"],
]
RELATIVISTIC = [
    *["loss.adversarial=rpgan", "loss.r2_gamma=1", "training.micro_batch=8", "data.sampler=balanced"],
    # Adam makes whole steps of gradients that are nothing but rounding, unless they are small beside eps; and a part of a
    # batch can be too small for conv3x3's kernels, which round to 1e-6
    "optimizer.eps=1e-3",
    *["--regularizers", "noisytwins,cbgan", "cbgan.cycle=5"],
]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}


def torchrun(processes: int, script: Path, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, f"--nproc-per-node={processes}", *options, str(script), *arguments]


def train(outdir: Path, processes: int, *arguments: str) -> Path:
    name = f"n{processes}"
    command = torchrun(
        processes, ROOT / "train.py", *TINY, *arguments, "--outdir", str(outdir), "--name", name
    )
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return outdir / name


def last(run: Path) -> dict[str, Any]:
    return load_checkpoint(list_checkpoints(run / "checkpoints")[-1])


def largest_difference(a: Any, b: Any) -> float:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        return max((largest_difference(a[key], b[key]) for key in a), default=0.0)
    if isinstance(a, Tensor) and a.numel():
        return float((a.double() - b.double()).abs().max())
    return 0.0


def assert_same_trajectory(one: Path, many: Path) -> None:
    a, b = last(one), last(many)
    assert a["images_seen"] == b["images_seen"] == 320
    for part in ("G", "D", "G_ema", "terms", "path_length"):
        assert largest_difference(a[part], b[part]) < 1e-4, part
    assert a["loader"] == b["loader"]
    assert torch.equal(a["rng"], b["rng"])
    for x, y in zip(*(map(json.loads, open(run / "stats.jsonl")) for run in (one, many)), strict=True):
        for name in x.keys() - {"time", "speed/images_per_second"}:
            assert y[name] == pytest.approx(x[name], rel=1e-4, abs=1e-5), name


@pytest.mark.slow
def test_two_and_four_processes_follow_one(tmp_path: Path) -> None:
    """20 steps with everything that draws random numbers or looks at the whole batch."""
    one = train(tmp_path, 1, *STYLEGAN)
    for number in (2, 4):
        assert_same_trajectory(one, train(tmp_path, number, *STYLEGAN))


@pytest.mark.slow
def test_pairs_and_the_classifier_see_the_whole_batch(tmp_path: Path) -> None:
    """Relativistic pairs that NoisyTwins rearranges, CBGAN's mean over the batch, gradient accumulation."""
    classifier = tmp_path / "classifier"
    arguments = ["train", "--data", "digits", "--resolution", "8", "--imbalance", "20", "--epochs", "1"]
    assert classifier_command([*arguments, "--outdir", str(classifier)]) == 0
    method = [*RELATIVISTIC, f"cbgan.classifier={classifier}"]
    one = train(tmp_path, 1, *method)
    assert_same_trajectory(one, train(tmp_path, 2, *method))


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    one = train(tmp_path, 1, *STYLEGAN)
    two = train(tmp_path, 2, *STYLEGAN, "training.kimg=0.16")
    command = torchrun(1, ROOT / "train.py", "--resume", str(two), "--kimg", "0.32")
    subprocess.run(command, env=environment(), check=True, capture_output=True, timeout=300)
    assert_same_trajectory(one, two)


@pytest.mark.slow
def test_a_process_that_dies_is_restarted_from_the_last_checkpoint(tmp_path: Path) -> None:
    """torchrun --max-restarts: the second attempt finds the run of the first, without --resume."""
    script = tmp_path / "dies_once.py"
    script.write_text(
        "import os, sys, threading, time\n"
        "from pathlib import Path\n"
        "from gan_lt.commands import run_command, train_command\n"
        "def die():\n"
        f"    while not list(Path({str(tmp_path)!r}).glob('runs/*/checkpoints/kimg-*.safetensors')):\n"
        "        time.sleep(0.01)\n"
        "    os._exit(9)\n"
        "if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0' and os.environ['RANK'] == '1':\n"
        "    threading.Thread(target=die, daemon=True).start()\n"
        "sys.exit(run_command(train_command, sys.argv[1:]))\n"
    )
    arguments = [*TINY, *STYLEGAN, "training.kimg=0.64", "--outdir", str(tmp_path / "runs")]
    command = torchrun(2, script, *arguments, options=("--max-restarts=1",))
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "resumed from" in done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert last(run)["images_seen"] == 640
    kimg = [json.loads(line)["kimg"] for line in open(run / "stats.jsonl")]
    assert kimg == sorted(set(kimg)), "no step is logged twice"


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_with_its_message(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text(
        "import os, sys, time, torch\n"
        "from gan_lt.commands import run_command\n"
        "from gan_lt.errors import InputError\n"
        "from gan_lt.training.distributed import process_group\n"
        "def command(arguments):\n"
        "    with process_group(torch.device('cpu')):\n"
        "        if os.environ['RANK'] == '1':\n"
        "            raise InputError('image 7 is torn')\n"
        "        torch.distributed.all_reduce(torch.zeros(1))\n"
        "    return 0\n"
        "sys.exit(run_command(command, []))\n"
    )
    start = time.monotonic()
    done = subprocess.run(torchrun(2, script), env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "error in process 1: image 7 is torn" in done.stderr
    # a minute, and what starting Python and PyTorch takes on a busy machine
    assert time.monotonic() - start < 120


@pytest.mark.slow
def test_sigterm_to_torchrun_leaves_a_checkpoint(tmp_path: Path) -> None:
    arguments = [*TINY, *STYLEGAN, "training.kimg=1000", "training.tick_kimg=100", "--name", "run"]
    command = torchrun(2, ROOT / "train.py", *arguments, "--outdir", str(tmp_path))
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("run/events.out.tfevents.*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert 0 < last(tmp_path / "run")["images_seen"] < 1_000_000


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (processes, distributed):
        monkeypatch.setattr(module, "world_size", lambda: 3)
    monkeypatch.setattr(processes, "_group_size", 4)
    with pytest.raises(InputError, match="32 images can't be divided among 3 processes"):
        distributed.check_batch(build_config("custom", {}))
    with pytest.raises(InputError, match="processes holds 20 images, which are no groups"):
        distributed.check_batch(
            build_config("custom", {"training.batch": 60}, ["discriminator.mbstd_group_size=12"])
        )
    assert "groups of 4 images" in str(
        distributed.check_batch(
            build_config("custom", {"training.batch": 12}, ["discriminator.mbstd_group_size=12"])
        )
    )
