"""The loop: what a run writes, exact resumption, signals and lengthened runs."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from gan_lt.classifier import Classifier
from gan_lt.config import TrainConfig
from gan_lt.data import ImageSet
from gan_lt.models import Generator
from gan_lt.training import loop, train
from gan_lt.training.monitor import Averages
from gan_lt.training.state import TrainingState
from tests.training.runs import at_resolution, differences, last_state, new_run, said

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]


def test_what_a_run_writes(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    run = new_run(tmp_path, "run")
    assert train(make_config(), images, run, console, CPU)
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert [line["kimg"] for line in lines] == [0.024, 0.048]
    assert {"D/adversarial", "D/r1", "G/adversarial", "speed/images_per_second"} <= lines[0].keys()
    assert all(isinstance(value, float) for line in lines for value in line.values())
    assert list((run / "samples").glob("*.png"))
    assert list(run.glob("events.out.tfevents.*"))
    G = Generator.from_pretrained(run / "network")
    assert G.class_names == ("a", "b", "c")
    assert G.class_counts == (40, 15, 5)
    state = last_state(run)
    assert (state["step"], state["images_seen"]) == (6, 48)
    assert not differences(state["G_ema"], dict(G.state_dict()))


@pytest.mark.parametrize(
    ("changes", "regularizers"),
    [
        ({}, []),
        (
            {
                "loss": {"path_length_weight": 2, "path_length_interval": 2},
                "training": {"style_mixing": 0.9, "micro_batch": 4},
                "data": {"horizontal_flips": True, "sampler": "effective"},
            },
            ["noisytwins"],
        ),
        ({"augment": {"name": "ada", "ada": {"p": 0.3, "speed_kimg": 0.1, "interval": 2}}}, ["lecam"]),
        ({"backbone": "sngan", "sngan": {"channels": 4}}, ["gsr", "lecam"]),
        ({"cbgan": {"cycle": 2}}, ["cbgan", "gsr"]),
        (
            {
                "backbone": "sngan",
                "sngan": {"channels": 4},
                "generator": {"conditional": False},
                "cbgan": {"cycle": 2},
            },
            ["cbgan"],
        ),
        ({"data": {"resolution": 16}}, ["utlo", "noisytwins"]),
        ({"transitional": {"start_step": 1, "end_step": 5}}, ["transitional"]),
    ],
    ids=[
        "plain",
        "everything",
        "ada",
        "sngan",
        "cbgan",
        "unconditional cbgan on sngan",
        "utlo",
        "transitional",
    ],
)
def test_resumed_training_equals_uninterrupted_bit_for_bit(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    changes: dict[str, Any],
    regularizers: list[str],
) -> None:
    whole, halves = new_run(tmp_path, "whole"), new_run(tmp_path, "halves")
    changes = dict(changes)
    if "cbgan" in changes:
        Classifier(3, resolution=8, img_channels=1, class_names=["a", "b", "c"]).save_pretrained(
            tmp_path / "C"
        )
        changes["cbgan"] = {**changes["cbgan"], "classifier": str(tmp_path / "C")}
    if "data" in changes:
        images = at_resolution(images, changes["data"].get("resolution", 8))
    top: dict[str, Any] = {"regularizers": regularizers, "backbone": changes.pop("backbone", "stylegan2")}
    config = make_config(changes, **top)
    half = make_config({**changes, "training": {**changes.get("training", {}), "kimg": 0.024}}, **top)
    train(config, images, whole, console, CPU)
    train(half, images, halves, console, CPU)
    assert last_state(halves)["step"] == 3
    train(config, images, halves, console, CPU)
    assert "resumed from" in said(tmp_path)
    assert last_state(halves)["step"] == 6
    assert not differences(last_state(whole), last_state(halves))
    for name in ("network/model.safetensors", "network/config.json"):
        assert (whole / name).read_bytes() == (halves / name).read_bytes()


def test_same_seed_same_weights_other_seed_others(make_config: MakeConfig, images: ImageSet) -> None:
    def after_two_steps(seed: int) -> dict[str, Tensor]:
        state = TrainingState(make_config({"training": {"seed": seed}}), images, CPU)
        for _ in range(2):
            loop.training_step(state, Averages())
        return {name: tensor.clone() for name, tensor in state.G.state_dict().items()}

    first = after_two_steps(3)
    assert not differences(first, after_two_steps(3))
    assert differences(first, after_two_steps(4))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_with_a_checkpoint_and_it_goes_on(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    whole, run = new_run(tmp_path, "whole"), new_run(tmp_path, "run")
    train(make_config(), images, whole, console, CPU)
    step = loop.training_step
    before = signal.getsignal(number)

    def step_and_signal(state: TrainingState, averages: Averages) -> None:
        step(state, averages)
        if state.step == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(loop, "training_step", step_and_signal)
    assert train(make_config(), images, run, console, CPU) is False
    assert signal.getsignal(number) is before
    assert "--resume" in said(tmp_path)
    assert last_state(run)["step"] == 2
    assert (run / "network" / "model.safetensors").exists()
    monkeypatch.setattr(loop, "training_step", step)
    assert train(make_config(), images, run, console, CPU) is True
    assert not differences(last_state(whole), last_state(run))


def test_a_finished_run_can_be_lengthened(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    run = new_run(tmp_path, "run")
    train(make_config(), images, run, console, CPU)
    before = last_state(run)
    assert train(make_config(), images, run, console, CPU)
    assert not differences(before, last_state(run))
    train(make_config({"training": {"kimg": 0.064}}), images, run, console, CPU)
    assert last_state(run)["images_seen"] == 64
