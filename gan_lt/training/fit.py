"""Whether a checkpoint fits the run it is loaded into, and what was changed where it doesn't."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gan_lt.config import TrainConfig
from gan_lt.errors import InputError


def settings_of(config: TrainConfig) -> dict[str, Any]:
    """The configuration as a checkpoint keeps it: nested dictionaries of numbers, texts and lists."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    return settings


def check_fit(
    parts: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    saved: Mapping[str, Any],
    config: TrainConfig,
) -> None:
    """Compare a checkpoint with what it is to be loaded into, before anything is loaded.

    Args:
        parts, optimizers: by their names in `saved`; `terms.gsr` is `saved["terms"]["gsr"]`. config: of the run that goes on.

    Raises:
        InputError: names the settings that were changed, where the checkpoint knows its own, and what doesn't fit.
    """
    for name in (*parts, *optimizers):
        section, _, term = name.partition(".")
        found = saved.get(section)
        if term and isinstance(found, Mapping):
            found = found.get(term)
        if not isinstance(found, Mapping):
            raise _refusal(f"it has no {term or section!r}", saved, config)
        misfits = (
            _misfits(name, parts[name].state_dict(), found)
            if name in parts
            else _other_groups(name, optimizers[name], found)
        )
        if (misfit := next(misfits, None)) is not None:
            raise _refusal(misfit, saved, config)


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


def _other_groups(name: str, optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> Iterator[str]:
    own, theirs = (
        [len(group["params"]) for group in groups]
        for groups in (optimizer.param_groups, saved.get("param_groups", []))
    )
    if own != theirs:
        yield f"{name} trains {sum(theirs)} tensors in it and {sum(own)} here"


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], section: str) -> Iterator[str]:
    """`generator.w_dim was 8, is 16` for all that differ, but for a run's length, which may be changed."""
    for key in sorted(before.keys() & now.keys()):
        name = f"{section}{key}"
        if isinstance(before[key], Mapping) and isinstance(now[key], Mapping):
            yield from _changes(before[key], now[key], f"{name}.")
        elif before[key] != now[key] and name != "training.kimg":
            yield f"{name} was {before[key]}, is {now[key]}"
