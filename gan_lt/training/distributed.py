"""Several processes: joining what torchrun started, and what a run must fulfil there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from gan_lt.config import TrainConfig
from gan_lt.errors import InputError, LostProcessError
from gan_lt.processes import join_processes, launched_by_torchrun, own_rows, restarts, world_size

# An error in one process makes torchrun end the others at once. This is for a process that hangs; where the others wait
# for process 0, which samples and measures, they do so in `wait_for_all`, without this limit.
_TIMEOUT = timedelta(minutes=3)
_LAUNCH = ".launch"


def local_rank() -> int:
    """This process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes for the time of the block: NCCL between GPUs, Gloo between CPUs.

    Does nothing for a process on its own.
    """
    if not launched_by_torchrun() or distributed.is_initialized():
        yield
        return
    join_processes("nccl" if device.type == "cuda" else "gloo", _TIMEOUT)
    try:
        yield
    except RuntimeError as error:
        # Gloo's own errors have no class of their own
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise LostProcessError(
                "the connection to another process of this run was lost; what it said last is the reason"
            ) from error
        raise
    finally:
        distributed.destroy_process_group()


def check_batch(config: TrainConfig) -> str | None:
    """What to know about the batch with this many processes, or None.

    Raises:
        InputError: the batch can't be divided so that minibatch standard deviation finds its groups.
    """
    if world_size() == 1:
        return None
    total = config.training.round
    held = len(own_rows(total))
    if config.backbone != "stylegan2" or config.discriminator.mbstd_channels == 0:
        return None
    group = config.discriminator.mbstd_group_size
    if group is None or group > held:
        return f"minibatch standard deviation over groups of {held} images, those of one process"
    if held % group:
        raise InputError(
            f"training.batch={total}: each of {world_size()} processes holds {held} images, which are no groups of "
            f"discriminator.mbstd_group_size={group}; pass --batch N with a multiple of {group * world_size()}"
        )
    return None


def restarted_run(outdir: Path) -> Path | None:
    """The run that an earlier attempt of this launch made below `outdir`: torchrun --max-restarts starts us again.

    None: this is the first attempt, or the attempt before made no run.
    """
    if restarts() == 0 or not outdir.is_dir():
        return None
    runs = [path.parent for path in outdir.glob(f"*/{_LAUNCH}") if path.read_text("utf-8") == _launch()]
    return max(runs, default=None)


def remember_launch(run: Path) -> None:
    """Note which launch made a run, so that a restart finds it."""
    if launched_by_torchrun():
        (run / _LAUNCH).write_text(_launch(), encoding="utf-8")


def _launch() -> str:
    """The same for every attempt of one torchrun, another for every torchrun: its id and its process."""
    return f"{os.environ.get('TORCHELASTIC_RUN_ID', '')} {os.getppid()} {os.environ.get('MASTER_ADDR', '')}"
