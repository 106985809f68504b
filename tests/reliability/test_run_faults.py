"""What can go wrong around a run: each one a clear line, with earlier results intact."""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from gan_lt.config import TrainConfig
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.training import loop, train
from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from gan_lt.training.failures import enough_memory, lost_loaders
from gan_lt.training.run_directory import create_run
from gan_lt.training.state import TrainingState
from tests.training.runs import kept

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_out_of_memory_names_the_setting_that_halves_it(
    run: Path, make_config: MakeConfig, images: ImageSet, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    before = kept(run)

    def step(*arguments: Any) -> None:
        raise error

    taken = loop.training_step
    monkeypatch.setattr(loop, "training_step", step)
    with pytest.raises(
        InputError, match=rf"8 images at a time.*training\.micro_batch=4 in {run}/config\.yaml"
    ):
        train(make_config(), images, run, Console(quiet=True), CPU)
    monkeypatch.setattr(loop, "training_step", taken)
    assert kept(run) == before
    # and that remedy helps
    assert train(make_config({"training": {"micro_batch": 4}}), images, run, Console(quiet=True), CPU)


def test_out_of_memory_while_resuming_is_one_line(
    run: Path, make_config: MakeConfig, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TrainingState, "load_state_dict", load)
    with pytest.raises(InputError, match="set up; the last checkpoint is kept: free memory"):
        train(make_config(), images, run, Console(quiet=True), CPU)


@pytest.mark.parametrize(
    ("batch", "group", "processes", "expected"),
    [(24, 4, 2, 8), (40, 4, 4, 8), (12, 3, 3, 6), (16, 4, 2, 8), (16, 4, 1, 8)],
)
def test_the_remedy_for_out_of_memory_is_one_that_several_processes_take(
    run: Path,
    make_config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    group: int,
    processes: int,
    expected: int,
) -> None:
    for module in ("gan_lt.processes", "gan_lt.training.distributed"):
        monkeypatch.setattr(f"{module}.world_size", lambda: processes)
    config = make_config({"training": {"batch": batch}, "discriminator": {"mbstd_group_size": group}})
    with pytest.raises(InputError) as caught, enough_memory(config, run):
        raise MemoryError
    assert f"micro_batch={expected} " in str(caught.value)


@pytest.mark.parametrize(
    "message",
    ["Pin memory thread exited unexpectedly", "Communication with the workers is no longer possible"],
)
def test_what_torch_says_of_lost_loaders_is_one_line(tmp_path: Path, message: str) -> None:
    source = inspect.getsource(torch.utils.data.dataloader)
    assert message in re.sub(r'"\s*"', "", source), "torch says it otherwise now"
    with pytest.raises(InputError, match=rf"{message}; if memory was short"), lost_loaders(tmp_path):
        raise RuntimeError(message)
    save_checkpoint(tmp_path / "checkpoints", {"step": 1}, 8, keep=1)
    with pytest.raises(InputError, match=rf"{message}; the last checkpoint is kept"), lost_loaders(tmp_path):
        raise RuntimeError(message)


def test_other_errors_stay_what_they_are(
    run: Path, make_config: MakeConfig, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*arguments: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(loop, "training_step", step)
    with pytest.raises(RuntimeError, match="a defect"):
        train(make_config(), images, run, Console(quiet=True), CPU)


def test_leftovers_of_a_killed_process_go(run: Path, make_config: MakeConfig, images: ImageSet) -> None:
    left = [
        run / "checkpoints" / ".kimg-000009.safetensors.4242",
        run / "network" / ".model.safetensors.4242",
        run / ".stats.jsonl.4242",
    ]
    mine = run / ".notes"
    for path in (*left, mine):
        path.write_bytes(b"half")
    train(make_config(), images, run, Console(quiet=True), CPU)
    assert not any(path.exists() for path in left)
    assert mine.exists()


def test_damaged_bytes_in_the_statistics_are_dropped(
    run: Path, make_config: MakeConfig, images: ImageSet
) -> None:
    before = (run / "stats.jsonl").read_bytes()
    (run / "stats.jsonl").write_bytes(before + b'{"kimg": 0.0\xff\xfe\n')
    train(make_config({"training": {"kimg": 0.056}}), images, run, Console(quiet=True), CPU)
    after = (run / "stats.jsonl").read_bytes()
    assert after.startswith(before)
    assert (
        json.loads(after[len(before) :].splitlines()[0])["kimg"] > json.loads(before.splitlines()[-1])["kimg"]
    )


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_a_folder_that_is_not_utf8_is_refused(tmp_path: Path, make_config: MakeConfig) -> None:
    outdir = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with pytest.raises(InputError, match=r"--outdir: .*caf\\udce9' is not UTF-8"):
        create_run(outdir, make_config())
    assert not outdir.exists()


def test_a_clock_that_goes_backwards_changes_nothing(
    run: Path, make_config: MakeConfig, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * next(calls))
    assert train(make_config(), images, run, Console(quiet=True), CPU)
    assert load_checkpoint(list_checkpoints(run / "checkpoints")[-1])["step"] == 6
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert [line["kimg"] for line in lines] == [0.024, 0.048]
    assert lines[1]["time"] < lines[0]["time"], "the clock went back"
    assert all(0 < line["speed/images_per_second"] < 1e6 for line in lines)
