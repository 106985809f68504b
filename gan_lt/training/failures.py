"""What ends a training in one line: no memory, no disk, a killed loader, steps that are not finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from gan_lt.config import TrainConfig, validate
from gan_lt.errors import InputError, lacks_memory
from gan_lt.training.checkpoint import list_checkpoints
from gan_lt.training.distributed import check_batch
from gan_lt.training.guard import StepGuard
from gan_lt.training.run_directory import CONFIG_NAME


class TrainingDivergedError(InputError):
    """Losses stopped being finite."""


class OutOfMemoryError(InputError):
    """A step needs more memory than there is; the run can go on with less at a time."""


@contextmanager
def memory_for_networks(run: Path) -> Iterator[None]:
    """Out of memory while networks are built or loaded becomes one line."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        if list_checkpoints(run / "checkpoints"):
            remedy = f"the last checkpoint is kept: free memory on the device, then --resume {run}"
        else:
            remedy = "a smaller generator.channel_max or data.resolution needs less"
        raise InputError(f"out of memory while the networks were set up; {remedy}") from error


@contextmanager
def enough_memory(config: TrainConfig, run: Path) -> Iterator[None]:
    """Out of memory in a step becomes one line with the setting that lowers what it needs."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        images = config.training.round
        smaller = next((n for n in range(images // 2, 1, -1) if _holds(config, n)), None)
        remedy = (
            "a run with a smaller generator.channel_max or data.resolution needs less"
            if smaller is None
            else f"set training.micro_batch={smaller} in {run / CONFIG_NAME}, then --resume {run}"
        )
        kept = "; the last checkpoint is kept" if list_checkpoints(run / "checkpoints") else ""
        raise OutOfMemoryError(
            f"{run}: out of memory with {images} images at a time{kept}: {remedy}"
        ) from error


def _holds(config: TrainConfig, micro_batch: int) -> bool:
    """Whether the networks, methods and processes of this run take so many images at a time."""
    values = config.model_dump()
    values["training"]["micro_batch"] = micro_batch
    try:
        check_batch(validate(values))
    except InputError:
        return False
    return True


@contextmanager
def writing(run: Path) -> Iterator[None]:
    """A full or read-only disk is one line."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{run}: can't be written ({reason}); free some space, then --resume {run}"
        ) from error


_LOST_LOADERS = (
    "DataLoader worker",
    "Pin memory thread exited unexpectedly",
    "Communication with the workers is no longer possible",
)


@contextmanager
def lost_loaders(run: Path) -> Iterator[None]:
    """A process that decodes images and was killed is one line, with the setting that may save it the next time."""
    try:
        yield
    except RuntimeError as error:
        # DataLoader raises the first from a signal handler, wherever the program happens to be; "Caught ... in DataLoader
        # worker" are errors of our own code, whose traceback must be seen
        known = any(text in str(error) for text in _LOST_LOADERS)
        if not known or str(error).startswith("Caught "):
            raise
        kept = "the last checkpoint is kept: " if list_checkpoints(run / "checkpoints") else ""
        raise InputError(
            f"{run}: {str(error).splitlines()[0].rstrip('. ')}; {kept}if memory was "
            f"short, lower data.workers in {run / CONFIG_NAME}, then --resume {run}"
        ) from error


def check_progress(guard: StepGuard, not_finite: dict[str, int], run: Path, limit: int) -> None:
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
