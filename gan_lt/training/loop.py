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
from gan_lt.interop.model_card import render_card
from gan_lt.progress import training_progress
from gan_lt.training.checkpoint import (
    DamagedCheckpointError,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from gan_lt.training.ema import ema_decay, update_ema
from gan_lt.training.fine_tuning import start_from
from gan_lt.training.initial_networks import InitialNetworks, open_initial_networks
from gan_lt.training.interruption import StopRequest
from gan_lt.training.monitor import Averages, Monitor
from gan_lt.training.state import TrainingState
from gan_lt.training.step import discriminator_step, generator_step


class TrainingDivergedError(InputError):
    """Losses stopped being finite."""


def train(
    config: TrainConfig,
    images: ImageSet,
    run: Path,
    console: Console,
    device: torch.device,
    initial: InitialNetworks | None = None,
) -> bool:
    """Train to `config.training.kimg`, from the run's last good checkpoint if it has one.

    Writes stats.jsonl, TensorBoard events, samples/, checkpoints/ and network/ (the averaged generator) into `run`.

    Args:
        initial: what `config.training.init_from` names, opened; None: it is opened here, where the run has no checkpoint.

    Returns:
        True when the run is complete, False when it was asked to stop (a checkpoint is written either way).

    Raises:
        TrainingDivergedError: a loss is not finite; the last checkpoint is kept.
    """
    settings = config.training
    if device.type == "cpu" and settings.threads is not None:
        torch.set_num_threads(settings.threads)
    state = TrainingState(config, images, device)
    if not _resume(state, run, console) and settings.init_from is not None:
        networks = initial or open_initial_networks(settings.init_from)
        console.print(start_from(state, networks), soft_wrap=True)
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
    """One optimizer step of each network on `training.batch` images."""
    config = state.config
    rounds = config.training.batch // config.training.round
    loss = config.loss
    penalty = loss.penalty_interval if state.step % loss.penalty_interval == 0 else 0
    path_length = loss.path_length_interval if state.step % loss.path_length_interval == 0 else 0
    relativistic = state.objective.adversarial.relativistic
    reals: list[tuple[Tensor, Tensor]] = [state.next_real() for _ in range(rounds)]

    _require_grad(state.D, state.G)
    for parameter in state.frozen:
        parameter.requires_grad_(False)
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
    state.images_seen += config.training.batch
    decay = ema_decay(config.training.batch, config.ema.kimg, state.images_seen, config.ema.rampup)
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
        card = render_card(state.G_ema.config, training=state.config, images_seen=state.images_seen)
        state.G_ema.save_pretrained(run / "network", card)


@contextmanager
def _writing(run: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{run}: can't be written ({reason}); free some space, then --resume {run}"
        ) from error


def _resume(state: TrainingState, run: Path, console: Console) -> bool:
    """Load the last good checkpoint; False when the run has none."""
    checkpoints = list_checkpoints(run / "checkpoints")
    for path in reversed(checkpoints):
        try:
            state.load_state_dict(load_checkpoint(path))
        except DamagedCheckpointError as error:
            console.print(f"[yellow]{error}; trying the one before it[/yellow]")
            continue
        console.print(f"resumed from {path.name} at {state.images_seen / 1000:.1f} kimg")
        return True
    if checkpoints:
        raise InputError(
            f"--resume: every checkpoint of {run} is damaged; start a new run, or restore one of them"
        )
    return False


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
