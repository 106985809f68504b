"""The training loop, top to bottom: set up, step, log, save."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from torch import Tensor, nn

from gan_lt.config import TrainConfig
from gan_lt.data import ImageSet
from gan_lt.interruption import StopRequest
from gan_lt.memory_reuse import StepMemory
from gan_lt.processes import any_process, average_gradients, is_main, wait_for_all
from gan_lt.progress import training_progress
from gan_lt.training.ema import ema_decay, update_ema
from gan_lt.training.failures import check_progress, enough_memory, lost_loaders, memory_for_networks, writing
from gan_lt.training.fine_tuning import start_from
from gan_lt.training.guard import LIMIT, parameters_of
from gan_lt.training.initial_networks import InitialNetworks, open_initial_networks
from gan_lt.training.monitor import Averages, open_monitor
from gan_lt.training.run_directory import CONFIG_NAME, exclusive, open_run, remove_leftovers, write_config
from gan_lt.training.saving import resume, save
from gan_lt.training.state import TrainingState
from gan_lt.training.step import discriminator_step, generator_step

if TYPE_CHECKING:
    from gan_lt.training.measuring import Measuring


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
            with writing(run):
                write_config(run, config)
        if is_main():
            remove_leftovers(run)
        with lost_loaders(run):
            return _train(config, images, run, console, device, initial)


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
    memory = StepMemory() if device.type == "cpu" else None
    if device.type == "cpu" and settings.threads is not None:
        torch.set_num_threads(settings.threads)
    with memory_for_networks(run):
        state = TrainingState(config, images, device)
        if not resume(state, run, console) and settings.init_from is not None:
            networks = initial or open_initial_networks(settings.init_from)
            console.print(start_from(state, networks), soft_wrap=True)
    wait_for_all()
    total_images = round(settings.kimg * 1000)
    tick_images = max(1, round(settings.tick_kimg * 1000))
    averages, guard = Averages(), state.guard
    ticks = state.images_seen // tick_images
    tick_time, tick_start = time.perf_counter(), state.images_seen
    with (
        open_monitor(run, state.images_seen) if is_main() else nullcontext() as monitor,
        training_progress(console) as progress,
        StopRequest() as stop,
    ):
        bar = progress.add_task("training", total=total_images, completed=state.images_seen)
        stopped = False
        while state.images_seen < total_images and not stopped:
            with enough_memory(config, run):
                training_step(state, averages)
            if memory is not None:
                memory.end_step()
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
            check_progress(guard, not_finite, run, 2 if finished else LIMIT)
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
                with writing(run):
                    measuring.keep_best(state.G_ema, measured, state.images_seen)
            if monitor is not None:
                with writing(run):
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


def _require_grad(trained: nn.Module, frozen: nn.Module) -> None:
    trained.requires_grad_(True)
    frozen.requires_grad_(False)
