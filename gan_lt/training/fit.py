"""Whether a checkpoint fits the run it is loaded into, and what was changed where it doesn't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import OutOfMemoryError, Tensor, nn

from gan_lt.config import TrainConfig
from gan_lt.errors import InputError


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """The configuration as a checkpoint keeps it: nested dictionaries of numbers, texts and lists."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    return settings


@contextmanager
def fitting(
    networks: Mapping[str, nn.Module], saved: Mapping[str, Any], config: TrainConfig
) -> Iterator[None]:
    """A context in which `saved` is loaded into `networks` and all else; what doesn't fit becomes one line.

    Args:
        networks: by their names in `saved`. config: of the run that goes on.

    Raises:
        InputError: names the settings that were changed, where the checkpoint knows its own, and what doesn't fit.
    """
    try:
        for name, network in networks.items():
            for misfit in _misfits(name, network.state_dict(), saved[name]):
                raise _refusal(misfit, saved, config)
        yield
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, (InputError, OutOfMemoryError)):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        missing = f"it has no {error}" if isinstance(error, KeyError) else lines[-1] if lines else repr(error)
        raise _refusal(missing, saved, config) from error


def _refusal(misfit: str, saved: Mapping[str, Any], config: TrainConfig) -> InputError:
    before = saved.get("settings")
    changed = (
        list(_changes(before, settings_of(config), "")) if isinstance(before, Mapping) and before else []
    )
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    what = f"changed since: {'; '.join(changed[:3])}{more}; " if changed else ""
    return InputError(
        f"--resume: config.yaml does not fit the checkpoint of {saved.get('images_seen', 0) / 1000:.1f} kimg ({what}{misfit}): "
        f"restore config.yaml, or start a new run"
    )


def _misfits(name: str, own: Mapping[str, Any], saved: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(own.keys() | saved.keys()):
        if key not in saved:
            yield f"{name}'s {key} is not in it"
        elif key not in own:
            yield f"its {key} of {name} is not in this network"
        elif (
            isinstance(own[key], Tensor)
            and isinstance(saved[key], Tensor)
            and own[key].shape != saved[key].shape
        ):
            yield f"{name}'s {key} is {list(saved[key].shape)} in it and {list(own[key].shape)} here"


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], section: str) -> Iterator[str]:
    """`generator.w_dim was 8, is 16` for all that differ, but for a run's length, which may be changed."""
    for key in sorted(before.keys() & now.keys()):
        name = f"{section}{key}"
        if isinstance(before[key], Mapping) and isinstance(now[key], Mapping):
            yield from _changes(before[key], now[key], f"{name}.")
        elif before[key] != now[key] and name != "training.kimg":
            yield f"{name} was {before[key]}, is {now[key]}"
