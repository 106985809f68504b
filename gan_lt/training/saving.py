"""Checkpoints and the network of a run: written, and taken up again."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console

from gan_lt.errors import InputError
from gan_lt.interop.model_card import render_card
from gan_lt.processes import is_main, mean_over_processes
from gan_lt.training.checkpoint import (
    DamagedCheckpointError,
    drop_older,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from gan_lt.training.failures import writing
from gan_lt.training.state import TrainingState


def save(state: TrainingState, run: Path) -> None:
    """A checkpoint, and the averaged generator for sampling.

    Raises:
        InputError: the folder can't be written; earlier checkpoints are intact.
    """
    _check_agreement(state)
    if not is_main():
        return
    with writing(run):
        save_checkpoint(
            run / "checkpoints", state.state_dict(), state.images_seen, state.config.training.keep_checkpoints
        )
        _save_network(state, run)


def resume(state: TrainingState, run: Path, console: Console) -> bool:
    """Load the last good checkpoint; False when the run has none."""
    checkpoints = list_checkpoints(run / "checkpoints")
    for path in reversed(checkpoints):
        try:
            state.load_state_dict(load_checkpoint(path))
        except DamagedCheckpointError as error:
            console.print(f"[yellow]{error}; trying the one before it[/yellow]")
            continue
        console.print(f"resumed from {path.name} at {state.images_seen / 1000:.1f} kimg")
        if is_main():
            with writing(
                run
            ):  # a kill right after the checkpoint left these undone, and there may be no step to come
                drop_older(path, state.config.training.keep_checkpoints)
                _save_network(state, run)
        return True
    if checkpoints:
        raise InputError(
            f"--resume: every checkpoint of {run} is damaged; start a new run, or restore one of them"
        )
    return False


def _save_network(state: TrainingState, run: Path) -> None:
    card = render_card(state.G_ema.config, training=state.config, images_seen=state.images_seen)
    state.G_ema.save_pretrained(run / "network", card)


def _check_agreement(state: TrainingState) -> None:
    """Every process must hold the same weights; a sum of each tells, and costs nothing beside a checkpoint."""
    sums = torch.stack([weight.detach().double().sum() for weight in state.G_ema.parameters()])
    if not torch.allclose(mean_over_processes(sums), sums, rtol=1e-12, atol=0):
        raise RuntimeError(
            f"the processes hold different weights after {state.images_seen} images; the last checkpoint is good: resume from it"
        )
