"""The training loop, top to bottom: set up, step, log, save."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from safetensors import SafetensorError
from torch import Tensor, nn

from gan_lt.config import TrainConfig
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.progress import training_progress
from gan_lt.training.checkpoint import (
    DamagedCheckpointError,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from gan_lt.training.ema import ema_decay, update_ema
from gan_lt.training.interruption import StopRequest
from gan_lt.training.monitor import Averages, Monitor
from gan_lt.training.state import TrainingState
from gan_lt.training.step import discriminator_step, generator_step


class TrainingDivergedError(InputError):
    """Losses stopped being finite."""


def train(config: TrainConfig, images: ImageSet, run: Path, console: Console, device: torch.device) -> bool:
    """Train to `config.training.kimg`, from the run's last good checkpoint if it has one.

    Writes stats.jsonl, TensorBoard events, samples/, checkpoints/ and network/ (the averaged generator) into `run`.

    Returns:
        True when the run is complete, False when it was asked to stop (a checkpoint is written either way).

    Raises:
        TrainingDivergedError: a loss is not finite; the last checkpoint is kept.
    """
    settings = config.training
    if device.type == "cpu" and settings.threads is not None:
        torch.set_num_threads(settings.threads)
    state = TrainingState(config, images, device)
    _resume(state, run, console)
    total_images = round(settings.kimg * 1000)
    tick_images = max(1, round(settings.tick_kimg * 1000))
    averages = Averages()
    ticks = state.images_seen // tick_images
    tick_time, tick_start = time.perf_counter(), state.images_seen
    with Monitor(run) as monitor, training_progress(console) as progress, StopRequest() as stop:
        bar = progress.add_task("training", total=total_images, completed=state.images_seen)
        while state.images_seen < total_images and not stop.requested:
            training_step(state, averages)
            progress.update(bar, completed=min(state.images_seen, total_images))
            finished = state.images_seen >= total_images or stop.requested
            if state.images_seen // tick_images == ticks and not finished:
                continue
            ticks = state.images_seen // tick_images
            seconds = time.perf_counter() - tick_time
            values = averages.take()
            _check_finite(values, run)
            for term in state.objective.terms:
                values.update({f"{term.name}/{key}": value for key, value in term.statistics().items()})
            augment = state.objective.augment.statistics()
            values.update({f"augment/{key}": value for key, value in augment.items()})
            values["speed/images_per_second"] = (state.images_seen - tick_start) / seconds
            with _writing(run):
                monitor.log(state.images_seen, values)
                monitor.sample_grid(state.G_ema, state.images_seen)
            if finished or ticks % settings.checkpoint_ticks == 0:
                save(state, run)
            tick_time, tick_start = time.perf_counter(), state.images_seen
    if stop.requested:
        console.print(
            f"stopped at {state.images_seen / 1000:.1f} kimg; go on with: python train.py --resume {run}"
        )
    return not stop.requested


def training_step(state: TrainingState, averages: Averages) -> None:
    """One optimizer step of the generator, after `training.discriminator_steps` of the discriminator."""
    config = state.config
    rounds = config.training.batch // config.training.round
    loss = config.loss
    penalty = loss.penalty_interval if state.step % loss.penalty_interval == 0 else 0
    path_length = loss.path_length_interval if state.step % loss.path_length_interval == 0 else 0
    relativistic = state.objective.adversarial.relativistic
    _require_grad(state.D, state.G)
    for _ in range(config.training.discriminator_steps):
        reals: list[tuple[Tensor, Tensor]] = [state.next_real() for _ in range(rounds)]
        state.optimizer_d.zero_grad(set_to_none=True)
        for real, labels in reals:
            # a relativistic loss compares images pair by pair, so the pairs share their class
            latents = state.draw_latents(labels if relativistic else None)
            losses = discriminator_step(
                state.G, state.D, state.objective, real, labels, latents, state.step, float(penalty)
            )
            (losses["loss"] / rounds).backward()  # type: ignore[no-untyped-call]
            averages.add("D", losses)
        state.optimizer_d.step()

    _require_grad(state.G, state.D)
    state.optimizer_g.zero_grad(set_to_none=True)
    for real, labels in reals:
        latents = state.draw_latents(labels if relativistic else None)
        losses = generator_step(
            state.G,
            state.D,
            state.objective,
            latents,
            real if relativistic else None,
            labels if relativistic else None,
            state.step,
            float(path_length),
        )
        (losses["loss"] / rounds).backward()  # type: ignore[no-untyped-call]
        averages.add("G", losses)
    state.optimizer_g.step()

    state.step += 1
    state.objective.augment.step(state.step)
    seen = config.training.batch * config.training.discriminator_steps
    state.images_seen += seen
    decay = ema_decay(seen, config.ema.kimg, state.images_seen, config.ema.rampup)
    update_ema(state.G_ema, state.G, decay)


def save(state: TrainingState, run: Path) -> None:
    """A checkpoint, and the averaged generator for sampling.

    Raises:
        InputError: the folder can't be written; earlier checkpoints are intact.
    """
    with _writing(run):
        save_checkpoint(
            run / "checkpoints", state.state_dict(), state.images_seen, state.config.training.keep_checkpoints
        )
        state.G_ema.save_pretrained(run / "network")


@contextmanager
def _writing(run: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{run}: can't be written ({reason}); free some space, then --resume {run}"
        ) from error


def _resume(state: TrainingState, run: Path, console: Console) -> None:
    checkpoints = list_checkpoints(run / "checkpoints")
    for path in reversed(checkpoints):
        try:
            state.load_state_dict(load_checkpoint(path))
        except DamagedCheckpointError as error:
            console.print(f"[yellow]{error}; trying the one before it[/yellow]")
            continue
        console.print(f"resumed from {path.name} at {state.images_seen / 1000:.1f} kimg")
        return
    if checkpoints:
        raise InputError(
            f"--resume: every checkpoint of {run} is damaged; start a new run, or restore one of them"
        )


def _require_grad(trained: nn.Module, frozen: nn.Module) -> None:
    trained.requires_grad_(True)
    frozen.requires_grad_(False)


def _check_finite(values: dict[str, float], run: Path) -> None:
    for name, value in values.items():
        if value != value or value in (float("inf"), float("-inf")):
            raise TrainingDivergedError(
                f"{run}: {name} is {value}, so training has diverged; the last checkpoint is kept: raise loss.r1_gamma or lower "
                f"optimizer.*_lr"
            )
