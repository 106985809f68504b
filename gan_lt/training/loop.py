"""The training loop, top to bottom: set up, step, log, save."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from safetensors import SafetensorError
from torch import Tensor, nn

from gan_lt.config import TrainConfig
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.interop.model_card import render_card
from gan_lt.interruption import StopRequest
from gan_lt.processes import any_process, average_gradients, is_main, mean_over_processes, wait_for_all
from gan_lt.progress import training_progress
from gan_lt.training.checkpoint import (
    DamagedCheckpointError,
    drop_older,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from gan_lt.training.ema import ema_decay, update_ema
from gan_lt.training.fine_tuning import start_from
from gan_lt.training.guard import LIMIT, StepGuard, parameters_of
from gan_lt.training.initial_networks import InitialNetworks, open_initial_networks
from gan_lt.training.monitor import Averages, Monitor
from gan_lt.training.run_directory import CONFIG_NAME, exclusive, open_run, remove_leftovers, write_config
from gan_lt.training.state import TrainingState
from gan_lt.training.step import discriminator_step, generator_step

if TYPE_CHECKING:
    from gan_lt.training.measuring import Measuring


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
        TrainingDivergedError: many steps in a row were not finite; the last checkpoint is kept.
        InputError: another process trains in `run`, or its checkpoints are of other images or all damaged.
    """
    with exclusive(run) if is_main() else nullcontext():
        if (
            is_main()
            and (run / CONFIG_NAME).is_file()
            and open_run(run).training.kimg != config.training.kimg
        ):
            # a run that was lengthened is that long from now on, also when it is resumed without saying so
            with _writing(run):
                write_config(run, config)
        if is_main():
            remove_leftovers(run)
        try:
            return _train(config, images, run, console, device, initial)
        except RuntimeError as error:
            # DataLoader raises this from a signal handler, wherever the program happens to be; "Caught ... in DataLoader
            # worker" are errors of our own code, whose traceback must be seen
            if "DataLoader worker" not in str(error) or str(error).startswith("Caught "):
                raise
            raise InputError(
                f"{run}: {str(error).splitlines()[0].rstrip('. ')}; the last checkpoint is kept: if memory was "
                f"short, lower data.workers in {run / CONFIG_NAME}, then --resume {run}"
            ) from error


def _train(
    config: TrainConfig,
    images: ImageSet,
    run: Path,
    console: Console,
    device: torch.device,
    initial: InitialNetworks | None,
) -> bool:
    settings = config.training
    measuring = _measuring(config, images, run, console, device) if is_main() else None
    if device.type == "cpu" and settings.threads is not None:
        torch.set_num_threads(settings.threads)
    state = TrainingState(config, images, device)
    if not _resume(state, run, console) and settings.init_from is not None:
        networks = initial or open_initial_networks(settings.init_from)
        console.print(start_from(state, networks), soft_wrap=True)
    wait_for_all()
    total_images = round(settings.kimg * 1000)
    tick_images = max(1, round(settings.tick_kimg * 1000))
    averages, guard = Averages(), state.guard
    ticks = state.images_seen // tick_images
    tick_time, tick_start = time.perf_counter(), state.images_seen
    with (
        _monitor(run, state.images_seen) if is_main() else nullcontext() as monitor,
        training_progress(console) as progress,
        StopRequest() as stop,
    ):
        bar = progress.add_task("training", total=total_images, completed=state.images_seen)
        stopped = False
        while state.images_seen < total_images and not stopped:
            with _memory_of(config, run):
                training_step(state, averages)
            progress.update(bar, completed=min(state.images_seen, total_images))
            # together: a process that stopped alone would leave the others waiting for its gradients
            stopped = any_process(stop.requested)
            finished = state.images_seen >= total_images or stopped
            if state.images_seen // tick_images == ticks and not finished:
                continue
            ticks = state.images_seen // tick_images
            seconds = time.perf_counter() - tick_time
            values, not_finite = averages.take()
            values.update({f"{network}/skipped_steps": count for network, count in guard.take().items()})
            _check_progress(guard, not_finite, run, 2 if finished else LIMIT)
            for term in state.objective.terms:
                values.update({f"{term.name}/{key}": value for key, value in term.statistics().items()})
            augment = state.objective.augment.statistics()
            values.update({f"augment/{key}": value for key, value in augment.items()})
            values["speed/images_per_second"] = (state.images_seen - tick_start) / seconds
            per_class: dict[str, dict[str, float]] = {}
            # not when stopped: whoever asked for that may not wait for a measurement
            if measuring is not None and not stopped and (finished or ticks % config.metrics.ticks == 0):
                measured, per_class = measuring.measure(state.G_ema)
                values.update({measuring.curve(name): value for name, value in measured.items()})
                with _writing(run):
                    measuring.keep_best(state.G_ema, measured, state.images_seen)
            if monitor is not None:
                with _writing(run):
                    monitor.log(state.images_seen, values, per_class)
                    monitor.sample_grid(state.G_ema, state.images_seen)
            # not while step after step is skipped: what is kept must be good
            if finished or (ticks % settings.checkpoint_ticks == 0 and guard.longest() < 2):
                wait_for_all()  # process 0 may have measured for long
                save(state, run)
            wait_for_all()
            tick_time, tick_start = time.perf_counter(), state.images_seen
    if stopped:
        console.print(f"stopped at {state.images_seen / 1000:.1f} kimg; go on with --resume {run}")
    return not stopped


def training_step(state: TrainingState, averages: Averages) -> None:
    """One optimizer step of the generator, after `training.discriminator_steps` of the discriminator."""
    config = state.config
    rounds = config.training.batch // config.training.round
    loss = config.loss
    penalty = loss.penalty_interval if state.step % loss.penalty_interval == 0 else 0
    path_length = loss.path_length_interval if state.step % loss.path_length_interval == 0 else 0
    relativistic = state.objective.adversarial.relativistic
    _require_grad(state.D, state.G)
    for parameter in state.frozen:
        parameter.requires_grad_(False)
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
        average_gradients(parameters_of(state.optimizer_d))
        state.guard.step("D", state.optimizer_d)

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
    average_gradients(parameters_of(state.optimizer_g))
    state.guard.step("G", state.optimizer_g)

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
    _check_agreement(state)
    if not is_main():
        return
    with _writing(run):
        save_checkpoint(
            run / "checkpoints", state.state_dict(), state.images_seen, state.config.training.keep_checkpoints
        )
        _save_network(state, run)


def _save_network(state: TrainingState, run: Path) -> None:
    card = render_card(state.G_ema.config, training=state.config, images_seen=state.images_seen)
    state.G_ema.save_pretrained(run / "network", card)


@contextmanager
def _memory_of(config: TrainConfig, run: Path) -> Iterator[None]:
    """Out of memory becomes one line with the setting that halves what a step needs."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        lacking = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
            text in str(error) for text in ("not enough memory", "can't allocate memory")
        )
        if not lacking:
            raise
        images = config.training.round
        group = (config.discriminator.mbstd_group_size or 1) if config.backbone == "stylegan2" else 1
        smaller = [
            n
            for n in range(images // 2, 1, -1)
            if config.training.batch % n == 0 and (n <= group or n % group == 0)
        ]
        remedy = (
            f"training.micro_batch={smaller[0]} needs less at once"
            if smaller
            else "a smaller generator.channel_max or data.resolution needs less"
        )
        raise InputError(
            f"{run}: out of memory with {images} images at a time; the last checkpoint is kept: {remedy}, in a new run"
        ) from error


@contextmanager
def _monitor(run: Path, images_seen: int) -> Iterator[Monitor]:
    """A Monitor; what can't be written when it opens or closes its files is one line, too."""
    with _writing(run):
        monitor = Monitor(run, images_seen)
    failed = True
    with monitor.quiet_threads():
        try:
            yield monitor
            failed = False
        finally:
            # what a full disk refuses once it refuses again on closing: the first error is the one to tell
            with suppress(OSError) if failed else _writing(run):
                monitor.close()


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
        if is_main():
            with _writing(
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


def _measuring(
    config: TrainConfig, images: ImageSet, run: Path, console: Console, device: torch.device
) -> Measuring | None:
    if not config.metrics.names:
        return None
    # not before it is asked for: it loads the whole evaluation
    from gan_lt.training.measuring import Measuring

    with console.status(f"preparing {', '.join(config.metrics.names)} ({config.metrics.features} features)"):
        measuring = Measuring(config, images, run, device)
    console.print(
        f"every {config.metrics.ticks} ticks: {measuring.description}; the best network by "
        f"{config.metrics.deciding} is kept in {run / 'best'}",
        soft_wrap=True,
    )
    return measuring


def _check_agreement(state: TrainingState) -> None:
    """Every process must hold the same weights; a sum of each tells, and costs nothing beside a checkpoint."""
    sums = torch.stack([weight.detach().double().sum() for weight in state.G_ema.parameters()])
    if not torch.allclose(mean_over_processes(sums), sums, rtol=1e-12, atol=0):
        raise RuntimeError(
            f"the processes hold different weights after {state.images_seen} images; the last checkpoint is good: resume from it"
        )


def _require_grad(trained: nn.Module, frozen: nn.Module) -> None:
    trained.requires_grad_(True)
    frozen.requires_grad_(False)


def _check_progress(guard: StepGuard, not_finite: dict[str, int], run: Path, limit: int) -> None:
    """End a training in which step after step had to be skipped, naming what was not finite."""
    in_a_row = guard.longest()
    if in_a_row < limit:
        return
    # the totals are not finite because a part of them is
    parts = [name for name in not_finite if not name.endswith("/loss")]
    culprits = ", ".join(parts) or "a gradient"
    raise TrainingDivergedError(
        f"{run}: the last {in_a_row} steps had to be skipped, for {culprits} was not finite; the last checkpoint is kept: "
        f"raise loss.r1_gamma or lower optimizer.generator_lr and optimizer.discriminator_lr"
    )
