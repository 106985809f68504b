"""The usual illnesses of GAN trainings, read off a run's stats.jsonl."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from gan_lt.config import TrainConfig
from gan_lt.errors import InputError
from gan_lt.training.run_directory import open_run

# judged on the last ticks, so that an early crisis that was overcome is not held against a run
_RECENT = 5


@dataclass(frozen=True)
class Finding:
    """illness: its name. seen: the figures. remedy: what to change."""

    illness: str
    seen: str
    remedy: str


def examine(run: Path) -> list[Finding]:
    """What a run's statistics show that usually means trouble, worst first.

    Raises:
        InputError: not a run, or one without statistics yet.
    """
    config = open_run(run)
    lines = _read(run / "stats.jsonl")
    recent = lines[-_RECENT:]
    findings = [rule(config, lines, recent) for rule in _RULES]
    return [finding for finding in findings if finding is not None]


def _read(path: Path) -> list[dict[str, Any]]:
    lines = []
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read ({error}); is it a run's stats.jsonl?") from error
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the last line of a run that was killed
        if isinstance(values, dict) and _expected("kimg", values.get("kimg")):
            lines.append({name: value for name, value in values.items() if _expected(name, value)})
    if not lines:
        raise InputError(f"{path}: holds no statistics yet; wait for the first tick")
    return lines


def _expected(name: str, value: object) -> bool:
    """Whether a line has what belongs under this name: figures of each class, or a number."""
    if name == "per_class":
        return isinstance(value, dict) and all(isinstance(figures, dict) for figures in value.values())
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def _mean(lines: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if name in line and math.isfinite(line[name])]
    return fmean(values) if values else None


def _skipped_steps(
    config: TrainConfig, lines: Sequence[dict[str, Any]], recent: Sequence[dict[str, Any]]
) -> Finding | None:
    skipped = sum(line.get(f"{network}/skipped_steps", 0) for line in recent for network in "GD")
    steps = len(recent) * config.training.tick_kimg * 1000 / config.training.batch
    if skipped <= max(2, 0.01 * steps):
        return None
    return Finding(
        "steps overflow",
        f"{skipped:.0f} of the last {steps:.0f} steps were skipped because a loss or gradient was not finite",
        "raise loss.r1_gamma, or lower optimizer.generator_lr and optimizer.discriminator_lr",
    )


def _discriminator_wins(
    config: TrainConfig, lines: Sequence[dict[str, Any]], recent: Sequence[dict[str, Any]]
) -> Finding | None:
    real, fake = _mean(recent, "D/logits_real"), _mean(recent, "D/logits_fake")
    loss = _mean(recent, "D/adversarial")
    if real is None or fake is None or loss is None:
        return None
    # at equilibrium the logistic losses are 2 log 2 or log 2 and hinge 2; near 0 nothing is left to learn from
    floor = {"logistic": 0.15, "rpgan": 0.05, "hinge": 0.2}[config.loss.adversarial]
    if loss > floor:
        return None
    return Finding(
        "the discriminator wins",
        f"its loss is {loss:.3f}, logits {real:.1f} of real and {fake:.1f} of generated images",
        "it knows the training images by heart: raise loss.r1_gamma, switch augmentation on (augment.name), or add the "
        "regularizer lecam",
    )


def _saturated_augmentation(
    config: TrainConfig, lines: Sequence[dict[str, Any]], recent: Sequence[dict[str, Any]]
) -> Finding | None:
    p = next((value for name in ("augment/p", "ada/p") if (value := _mean(recent, name)) is not None), None)
    if p is None or p < 0.85:
        return None
    return Finding(
        "augmentation saturates",
        f"ADA's p is {p:.2f}, so augmentations leak into the generated images",
        "there are too few images for this discriminator: raise loss.r1_gamma or make the networks smaller",
    )


def _w_collapses(
    config: TrainConfig, lines: Sequence[dict[str, Any]], recent: Sequence[dict[str, Any]]
) -> Finding | None:
    now = _mean(recent, "G/w_spread")
    best = max((line["G/w_spread"] for line in lines if "G/w_spread" in line), default=None)
    if now is None or best is None or now > 0.1 * best:
        return None
    return Finding(
        "w collapses",
        f"the spread of w over a batch fell to {now:.3g} from {best:.3g}",
        "images of a class become one image: add the regularizer noisytwins, or lower generator.mapping_lr_multiplier",
    )


def _lost_classes(
    config: TrainConfig, lines: Sequence[dict[str, Any]], recent: Sequence[dict[str, Any]]
) -> Finding | None:
    measured = [line["per_class"] for line in lines if "per_class" in line]
    if len(measured) < 2:
        return None  # a young network covers nothing yet
    lost = [
        name
        for name, figures in measured[-1].items()
        if figures.get("recall") == 0 and measured[-2].get(name, {}).get("recall") == 0
    ]
    if not lost:
        return None
    names = ", ".join(lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
    return Finding(
        "classes are lost",
        f"recall is 0 in the last two measurements for {names}",
        "show rare classes more often (data.sampler=balanced) and add the regularizer noisytwins or gsr",
    )


def _slows_down(
    config: TrainConfig, lines: Sequence[dict[str, Any]], recent: Sequence[dict[str, Any]]
) -> Finding | None:
    speeds = [line["speed/images_per_second"] for line in lines if "speed/images_per_second" in line]
    if len(speeds) < 2 * _RECENT:
        return None
    now, usual = fmean(speeds[-_RECENT:]), sorted(speeds)[len(speeds) // 2]
    if now > 0.6 * usual:
        return None
    return Finding(
        "slower than before",
        f"{now:.0f} img/s lately, {usual:.0f} usually",
        "something else may use the machine, or the data comes from a slower disk",
    )


_Rule = Callable[[TrainConfig, Sequence[dict[str, Any]], Sequence[dict[str, Any]]], Finding | None]
_RULES: tuple[_Rule, ...] = (
    _skipped_steps,
    _discriminator_wins,
    _saturated_augmentation,
    _w_collapses,
    _lost_classes,
    _slows_down,
)
