"""Disks that fill up or turn read-only and data that vanish while a run goes on: a clear line, earlier results intact."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from gan_lt.config import TrainConfig
from gan_lt.data import ImageSet, open_image_set
from gan_lt.errors import InputError
from gan_lt.training import checkpoint, loop, monitor, run_directory, train
from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint
from gan_lt.training.monitor import Averages, open_monitor
from gan_lt.training.run_directory import exclusive
from gan_lt.training.state import TrainingState
from tests.training.runs import kept

CPU = torch.device("cpu")
QUIET = Console(quiet=True)
MakeConfig = Callable[..., TrainConfig]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes of any file fails in the kernel, as on a full disk; Python ignores SIGXFSZ."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# the first is hit by the figures, the second by a picture or network, the third by the checkpoint alone
@pytest.mark.parametrize("size", [100, 3_000, 30_000])
def test_a_disk_that_is_full_wherever_a_run_writes(
    run: Path, make_config: MakeConfig, images: ImageSet, size: int
) -> None:
    before = kept(run)
    with files_of_at_most(size), pytest.raises(InputError, match="can't be written") as caught:
        train(make_config(), images, run, QUIET, CPU)
    assert str(run) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kept(run) == before
    assert train(make_config(), images, run, QUIET, CPU)
    assert load_checkpoint(list_checkpoints(run / "checkpoints")[-1])["step"] == 6


def test_a_disk_that_is_full_when_the_last_figures_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard's thread writes what is left when it is closed: its traceback must not stand beside our line."""
    said: list[object] = []
    monkeypatch.setattr(threading, "excepthook", said.append)

    def write_much() -> None:
        with open_monitor(tmp_path, 0) as writing:
            for i in range(3):
                writing._tensorboard.add_text("x", "y" * 9000, i)

    with (
        files_of_at_most(300),
        pytest.raises((InputError, OSError)),
    ):  # as the thread fails on closing or before
        write_much()
    assert not said


def read_only(*arguments: Any, **more: Any) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (run_directory, "open"),
        (monitor, "open"),
        (checkpoint, "save_file"),
        (os, "replace"),
    ],
)
def test_a_disk_that_turned_read_only(
    run: Path,
    make_config: MakeConfig,
    images: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
) -> None:
    before = kept(run)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, read_only, raising=False)
        with pytest.raises(InputError, match=r"can't be written \(Read-only file system\)"):
            train(make_config(), images, run, QUIET, CPU)
    assert kept(run) == before
    assert train(make_config(), images, run, QUIET, CPU)


@pytest.fixture
def folder(tmp_path: Path, images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The images as files that are decoded each time they are read, as those of a large set."""
    monkeypatch.setattr("gan_lt.data.opening.IN_MEMORY_BYTES", 0)
    data = tmp_path / "data"
    for index, (pixels, label) in enumerate(zip(images.images(), images.labels, strict=True)):
        file = data / "abc"[label] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0]).save(file)
    return data


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_vanishes_while_a_run_reads(
    tmp_path: Path, make_config: MakeConfig, folder: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = make_config({"data": {"workers": workers}, "training": {"kimg": 0.096}})
    step, hidden = loop.training_step, tmp_path / "hidden"

    def step_and_hide(state: TrainingState, averages: Averages) -> None:
        step(state, averages)
        if state.step == 4:
            (folder / "a").rename(hidden)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "training_step", step_and_hide)
        with pytest.raises(InputError, match=r"/a/\d+\.png") as caught:
            train(config, open_image_set(folder), run, QUIET, CPU)
    assert "\n" not in str(caught.value)
    assert load_checkpoint(list_checkpoints(run / "checkpoints")[-1])["step"] in (3, 6)  # workers read ahead
    hidden.rename(folder / "a")
    assert train(config, open_image_set(folder), run, QUIET, CPU)


def test_a_loading_process_that_is_killed(
    tmp_path: Path, make_config: MakeConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = make_config({"data": {"workers": 1}, "training": {"kimg": 0.4}})
    step = loop.training_step
    others = set(multiprocessing.active_children())  # of runs before, which a caught error may still hold

    def step_and_kill(state: TrainingState, averages: Averages) -> None:
        step(state, averages)
        if state.step == 4:
            for process in set(multiprocessing.active_children()) - others:
                os.kill(process.pid or 0, signal.SIGKILL)

    monkeypatch.setattr(loop, "training_step", step_and_kill)
    with pytest.raises(InputError, match=r"DataLoader worker.* (killed|exited).*lower data\.workers"):
        train(config, open_image_set(folder), run, QUIET, CPU)
    assert load_checkpoint(list_checkpoints(run / "checkpoints")[-1])["step"] in (3, 6)


def test_an_error_of_our_own_in_a_loading_process_is_no_killed_one(
    tmp_path: Path, make_config: MakeConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bool:
        # as torch words what a loading process has raised
        raise RuntimeError("Caught RuntimeError in DataLoader worker process 0.\na fault in the code")

    monkeypatch.setattr(loop, "_train", broken)
    with pytest.raises(RuntimeError, match="a fault in the code"):
        train(make_config(), open_image_set(folder), tmp_path, QUIET, CPU)


def test_a_loading_process_that_outlives_its_killed_parent_holds_no_lock(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        child = os.fork()
        if child == 0:
            signal.pause()
    deadline, free = time.monotonic() + 20, False
    try:
        while not free and time.monotonic() < deadline:
            try:
                with exclusive(tmp_path):
                    free = True
            except InputError:  # the child has not run yet
                time.sleep(0.01)
        assert free
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_images_that_changed_are_refused_with_earlier_results_intact(
    tmp_path: Path, make_config: MakeConfig, folder: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    train(make_config({"training": {"kimg": 0.024}}), open_image_set(folder), run, QUIET, CPU)
    before = kept(run)
    (folder / "c" / "59.png").rename(folder / "b" / "59.png")
    with pytest.raises(InputError, match="training images have changed"):
        train(make_config(), open_image_set(folder), run, QUIET, CPU)
    assert kept(run) == before
    (folder / "b" / "59.png").rename(folder / "c" / "59.png")
    assert train(make_config(), open_image_set(folder), run, QUIET, CPU)
