"""The loop: what a run writes, exact resumption, and every kind of step."""

from __future__ import annotations

import json
import math
import os
import shutil
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
from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.training import loop, step, train
from gan_lt.training.checkpoint import list_checkpoints, load_checkpoint
from gan_lt.training.monitor import Averages
from gan_lt.training.run_directory import exclusive
from gan_lt.training.state import TrainingState

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def console(tmp_path: Path) -> Console:
    with open(tmp_path / "console.txt", "w") as file:
        yield Console(file=file, width=1000)


def said(tmp_path: Path) -> str:
    return (tmp_path / "console.txt").read_text()


def last_state(run: Path) -> dict[str, Any]:
    return load_checkpoint(list_checkpoints(run / "checkpoints")[-1])


def differences(a: Any, b: Any, name: str = "") -> list[str]:
    """Where two states differ in any bit."""
    if isinstance(a, Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [name]
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [name]
        return [d for key in a for d in differences(a[key], b[key], f"{name}/{key}")]
    if isinstance(a, list):
        if len(a) != len(b):
            return [name]
        return [
            d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{name}/{i}")
        ]
    return [] if a == b else [name]


def at_resolution(images: ImageSet, resolution: int) -> ImageSet:
    """The same set with pixels repeated."""
    times = resolution // images.resolution
    pixels = images.images().repeat(times, axis=2).repeat(times, axis=3)
    return ImageSet.from_arrays(pixels, images.labels, images.class_names)


def new_run(tmp_path: Path, name: str) -> Path:
    run = tmp_path / name
    run.mkdir()
    return run


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


def test_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    whole, run = new_run(tmp_path, "whole"), new_run(tmp_path, "run")
    config = make_config({"training": {"batch": 1000, "kimg": 3, "tick_kimg": 1}})
    train(config, images, whole, console, CPU)
    first, last = list_checkpoints(whole / "checkpoints")
    assert [first.name, last.name] == ["kimg-000002.safetensors", "kimg-000003.safetensors"]
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / first.name).write_bytes(first.read_bytes())
    (run / "checkpoints" / last.name).write_bytes(last.read_bytes()[:-100])
    train(config, images, run, console, CPU)
    line = next(line for line in said(tmp_path).splitlines() if "trying the one before" in line)
    assert last.name in line
    assert "resumed from kimg-000002.safetensors at 2.0 kimg" in said(tmp_path)
    assert not differences(last_state(whole), last_state(run))


def test_changed_images_are_refused(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    run = new_run(tmp_path, "run")
    train(make_config({"training": {"kimg": 0.024}}), images, run, console, CPU)
    pixels = images.images().copy()
    pixels[7, 0, 3, 3] ^= 1
    changed = ImageSet.from_arrays(pixels, images.labels, images.class_names)
    before = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    with pytest.raises(InputError, match="training images have changed"):
        train(make_config(), changed, run, console, CPU)
    assert before == {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"generator": {"w_dim": 16}},
            r"generator\.w_dim was 8, is 16; G's .* is \[.*\] in it and \[.*\] here",
        ),
        (
            {"generator": {"mapping_layers": 3}},
            r"generator\.mapping_layers was 2, is 3; .*mapping\.layers\.2",
        ),
        (
            {"discriminator": {"architecture": "orig"}},
            r"discriminator\.architecture was resnet, is orig; .* of D",
        ),
        ({"regularizers": ["lecam"]}, r"regularizers was \[\], is \['lecam'\]; it has no 'lecam'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_an_edited_config_is_one_line(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    changes: dict[str, Any],
    named: str,
) -> None:
    run = new_run(tmp_path, "run")
    train(make_config({"training": {"kimg": 0.024}}), images, run, console, CPU)
    before = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    top = {name: value for name, value in changes.items() if not isinstance(value, dict)}
    sections = {name: value for name, value in changes.items() if isinstance(value, dict)}
    with pytest.raises(InputError, match=f"config.yaml does not fit.*{named}.*restore config.yaml") as caught:
        train(make_config(sections, **top), images, run, console, CPU)
    assert "\n" not in str(caught.value)
    assert before == {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}


def test_a_misfit_is_said_of_a_checkpoint_without_settings_too(
    make_config: MakeConfig, images: ImageSet
) -> None:
    old = TrainingState(make_config(), images, CPU).state_dict()
    del old["settings"]
    state = TrainingState(make_config({"generator": {"z_dim": 16}}), images, CPU)
    with pytest.raises(InputError, match=r"of 0\.0 kimg \(G's mapping"):
        state.load_state_dict(old)
    TrainingState(make_config(), images, CPU).load_state_dict(old)


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


STEPS: dict[str, dict[str, Any]] = {
    "orig": {"discriminator": {"architecture": "orig"}},
    "hinge": {"loss": {"adversarial": "hinge"}},
    "relativistic with r2": {"loss": {"adversarial": "rpgan", "r2_gamma": 0.1}},
    "unconditional": {"generator": {"conditional": False}},
    "relativistic unconditional": {"generator": {"conditional": False}, "loss": {"adversarial": "rpgan"}},
    "path length and style mixing": {
        "loss": {"path_length_weight": 2, "path_length_interval": 1},
        "training": {"style_mixing": 0.9},
    },
    "no augmentation, training labels": {
        "augment": {"name": "none"},
        "training": {"generated_labels": "training"},
    },
    "sngan": {"backbone": "sngan", "sngan": {"channels": 4}},
    "sngan, hinge, gsr and lecam": {
        "backbone": "sngan",
        "sngan": {"channels": 4},
        "loss": {"adversarial": "hinge", "r1_gamma": 0},
        "regularizers": ["gsr", "lecam"],
    },
    "unconditional sngan": {
        "backbone": "sngan",
        "sngan": {"channels": 4},
        "generator": {"conditional": False},
    },
    "utlo": {"regularizers": ["utlo"], "data": {"resolution": 16}},
    "relativistic utlo and noisytwins": {
        "regularizers": ["utlo", "noisytwins"],
        "data": {"resolution": 16},
        "loss": {"adversarial": "rpgan", "r2_gamma": 0.1},
    },
    "transitional": {
        "regularizers": ["transitional"],
        "transitional": {"start_step": 1, "end_step": 4},
        "loss": {"r2_gamma": 0.1},
    },
    "relativistic transitional with lecam and ada": {
        "regularizers": ["transitional", "lecam", "noisytwins"],
        "transitional": {"start_step": 0, "end_step": 4, "remaining": 0.5},
        "loss": {"adversarial": "rpgan"},
        "augment": {"name": "ada", "ada": {"p": 0.5, "target": None}},
    },
    "all that goes together": {
        "regularizers": ["noisytwins", "gsr", "lecam", "utlo", "transitional"],
        "data": {"resolution": 16},
        "transitional": {"start_step": 0, "end_step": 2},
        "loss": {"path_length_weight": 2, "path_length_interval": 1},
        "training": {"style_mixing": 0.9},
    },
    "ada": {"augment": {"name": "ada", "ada": {"p": 0.5, "speed_kimg": 1}}},
    "noisytwins": {"regularizers": ["noisytwins"]},
    "relativistic noisytwins": {"regularizers": ["noisytwins"], "loss": {"adversarial": "rpgan"}},
    "noisytwins in micro-batches": {"regularizers": ["noisytwins"], "training": {"micro_batch": 4}},
}


@pytest.mark.parametrize("name", STEPS)
def test_every_kind_of_step_moves_both_networks(name: str, make_config: MakeConfig, images: ImageSet) -> None:
    changes = dict(STEPS[name])
    top = {key: changes.pop(key) for key in ("regularizers", "backbone") if key in changes}
    config = make_config(changes, **top)
    images = at_resolution(images, config.data.resolution or 8)
    state = TrainingState(config, images, CPU)
    before = {
        f"{which} {key}": value.clone()
        for which, network in [("G", state.G), ("D", state.D), ("ema", state.G_ema)]
        for key, value in network.named_parameters()
    }
    averages = Averages()
    for _ in range(3):
        loop.training_step(state, averages)
    values, _ = averages.take()
    assert all(value == value and abs(value) < 1e6 for value in values.values()), values
    moved = {"G": 0, "D": 0, "ema": 0}
    for which, network in [("G", state.G), ("D", state.D), ("ema", state.G_ema)]:
        for key, value in network.named_parameters():
            assert bool(torch.isfinite(value).all()), key
            moved[which] += not torch.equal(value, before[f"{which} {key}"])
    assert all(moved.values()), moved
    assert ("G/path_length" in values) == ("path_length_weight" in config.loss.model_fields_set)
    assert ("G/noisytwins" in values) == ("noisytwins" in config.regularizers)
    assert ("D/r2" in values) == (config.loss.r2_gamma > 0)
    assert state.images_seen == 24


@pytest.mark.parametrize("name", ["utlo", "transitional"])
def test_a_terms_head_is_trained_with_the_discriminator(
    name: str, make_config: MakeConfig, images: ImageSet
) -> None:
    changes = {"utlo": {"data": {"resolution": 16}}, "transitional": {}}[name]
    state = TrainingState(
        make_config(changes, regularizers=[name]), at_resolution(images, 16 if name == "utlo" else 8), CPU
    )
    (term,) = state.objective.terms
    before = [parameter.clone() for parameter in term.parameters()]
    averages = Averages()
    loop.training_step(state, averages)
    assert all(not torch.equal(a, b) for a, b in zip(before, term.parameters(), strict=True) if b.ndim > 1)
    values, _ = averages.take()
    assert values[f"D/{name}"] > 0
    assert values[f"G/{name}"] > 0


def test_before_the_transition_labels_change_nothing(make_config: MakeConfig, images: ImageSet) -> None:
    """The same latents with other classes: the same images, and no gradient into the class embedding."""
    state = TrainingState(make_config(regularizers=["transitional"]), images, CPU)
    for _ in range(3):
        loop.training_step(state, Averages())
    assert float(state.G_ema.mapping.class_scale) == 0  # type: ignore[union-attr, arg-type]
    z = torch.randn(4, 8)
    first, second = (state.G_ema(z, torch.full([4], k), noise_mode="const") for k in (0, 2))
    assert torch.equal(first, second)
    gradient = state.G.mapping.embed.weight.grad  # type: ignore[union-attr]
    assert not bool(gradient.any())


def test_r1_and_ada_look_at_the_whole_verdict(make_config: MakeConfig, images: ImageSet) -> None:
    """Before the transition D's own logits count nothing: R1 is that of the unconditional head, and so are the signs."""
    config = make_config(
        {"augment": {"name": "ada", "ada": {"transforms": ["cutout"]}}}, regularizers=["transitional"]
    )
    state = TrainingState(config, images, CPU)
    (term,) = state.objective.terms
    with torch.no_grad():
        term.head.bias.fill_(1000.0)  # type: ignore[union-attr]
    real, labels = state.next_real()
    losses = step.discriminator_step(
        state.G, state.D, state.objective, real, labels, state.draw_latents(), 0, penalty_factor=2.0
    )
    seen = real.clone().requires_grad_()
    head = term.head(state.D.features(seen)).squeeze(1)  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(head.sum(), seen)
    expected = gradient.square().sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(losses["r1"], expected)
    assert float(expected) > 0
    assert float(state.objective.augment.signs) == len(real)  # type: ignore[arg-type]


def test_a_checkpoint_from_before_ada_is_resumed(make_config: MakeConfig, images: ImageSet) -> None:
    state = TrainingState(make_config(), images, CPU)
    loop.training_step(state, Averages())
    saved = {key: value for key, value in state.state_dict().items() if key != "augment"}
    again = TrainingState(make_config(), images, CPU)
    again.load_state_dict(saved)
    assert not differences(saved["D"], again.state_dict()["D"])


def test_several_discriminator_steps_to_one_of_the_generator(
    make_config: MakeConfig, images: ImageSet
) -> None:
    state = TrainingState(make_config({"training": {"discriminator_steps": 3}}), images, CPU)
    updates = {"D": 0, "G": 0}
    for name, optimizer in [("D", state.optimizer_d), ("G", state.optimizer_g)]:
        optimizer.register_step_post_hook(lambda *_, name=name: updates.update({name: updates[name] + 1}))
    for _ in range(2):
        loop.training_step(state, Averages())
    assert updates == {"D": 6, "G": 2}
    assert (state.step, state.images_seen) == (2, 6 * 8)


def test_micro_batches_add_up_to_the_batch(make_config: MakeConfig, images: ImageSet) -> None:
    """The discriminator's gradient of 8 images is the mean of its gradients of 4 and 4, given the same fakes."""
    gradients = []
    for micro in (8, 4):
        # a minibatch-stddev group within each half, no augmentation, no noise: only the split differs
        config = make_config(
            {
                "training": {"micro_batch": micro},
                "discriminator": {"mbstd_group_size": 1},
                "augment": {"name": "none"},
            }
        )
        state = TrainingState(config, images, CPU)
        latents = iter(torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(1)).reshape(-1, micro, 8))
        classes = iter((torch.arange(16) % 3).reshape(-1, micro))
        draw = type(state.draw_latents(None))
        state.draw_latents = lambda labels=None, z=latents, y=classes, c=draw: c(next(z), next(y))  # type: ignore
        state.optimizer_d.step = lambda *a: None  # type: ignore[method-assign,assignment]
        state.optimizer_g.step = lambda *a: None  # type: ignore[method-assign,assignment]
        torch.manual_seed(0)
        loop.training_step(state, Averages())
        gradients.append({key: p.grad for key, p in state.D.named_parameters()})
    for key, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], gradient, rtol=1e-3, atol=1e-5)


def test_a_step_that_is_not_finite_is_skipped_and_counted(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = new_run(tmp_path, "run")
    step, weights = loop.training_step, {}

    def poisoned(state: TrainingState, averages: Averages) -> None:
        if state.step == 1:
            weights.update({key: value.clone() for key, value in state.D.named_parameters()})
            real = state.next_real
            state.next_real = lambda: (real()[0] * float("inf"), real()[1])  # type: ignore[method-assign]
        step(state, averages)
        if state.step == 2:
            state.next_real = real  # type: ignore[method-assign]
            for key, value in state.D.named_parameters():
                assert torch.equal(value, weights[key]), f"the skipped step moved {key}"

    monkeypatch.setattr(loop, "training_step", poisoned)
    assert train(make_config(regularizers=["lecam"]), images, run, console, CPU)
    first, second = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert first["D/skipped_steps"] == 1
    assert "D/skipped_steps" not in second
    assert all(map(math.isfinite, [*first.values(), *second.values()]))
    for name, value in last_state(run)["terms"]["lecam"].items():
        assert bool(torch.isfinite(value).all()), name


def test_divergence_is_said_and_keeps_the_last_checkpoint(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = new_run(tmp_path, "run")
    step = loop.training_step

    def poisoned(state: TrainingState, averages: Averages) -> None:
        if state.step == 4:
            with torch.no_grad():
                next(state.D.parameters()).fill_(float("nan"))
        step(state, averages)

    monkeypatch.setattr(loop, "training_step", poisoned)
    config = make_config({"training": {"kimg": 0.4, "tick_kimg": 0.024}})
    with pytest.raises(loop.TrainingDivergedError, match=r"the last 2\d steps .* D/adversarial") as caught:
        train(config, images, run, console, CPU)
    assert "\n" not in str(caught.value)
    assert last_state(run)["step"] == 3


def test_two_runs_in_one_folder_are_refused(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    run = new_run(tmp_path, "run")
    with exclusive(run), pytest.raises(InputError, match=r"run: another process trains in this folder"):
        train(make_config(), images, run, console, CPU)
    assert not (run / "stats.jsonl").exists()
    assert train(make_config(), images, run, console, CPU), "the lock is gone with its holder"


def test_a_full_disk_is_one_line_and_keeps_earlier_checkpoints(
    tmp_path: Path,
    make_config: MakeConfig,
    images: ImageSet,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from safetensors import SafetensorError

    from gan_lt.training import checkpoint

    run = new_run(tmp_path, "run")
    train(make_config({"training": {"kimg": 0.024}}), images, run, console, CPU)
    before = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}

    def full(*arguments: Any, **more: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left") as caught:
        train(make_config(), images, run, console, CPU)
    assert str(run) in str(caught.value)
    assert before == {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}


def test_relativistic_pairs_share_their_class(make_config: MakeConfig, images: ImageSet) -> None:
    state = TrainingState(make_config({"loss": {"adversarial": "rpgan"}}), images, CPU)
    seen: list[tuple[list[int], list[int]]] = []
    judge = state.D.judge
    calls: list[list[int]] = []

    def watch(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        calls.append(y.tolist())
        return judge(x, y)

    state.D.judge = watch  # type: ignore[method-assign,assignment]
    loop.training_step(state, Averages())
    seen = list(zip(calls[::2], calls[1::2], strict=True))
    assert len(seen) == 2
    assert all(a == b for a, b in seen)


def test_generated_labels(make_config: MakeConfig, images: ImageSet) -> None:
    for setting, expected in [("uniform", [1 / 3] * 3), ("training", [40 / 60, 15 / 60, 5 / 60])]:
        config = make_config({"training": {"generated_labels": setting, "batch": 6000}})
        labels = TrainingState(config, images, CPU).draw_latents().y
        assert labels is not None
        share = torch.bincount(labels, minlength=3) / 6000
        torch.testing.assert_close(share, torch.tensor(expected), rtol=0, atol=0.03)


def test_real_images_come_in_minus_one_to_one(make_config: MakeConfig, images: ImageSet) -> None:
    real, labels = TrainingState(make_config(), images, CPU).next_real()
    assert real.shape == (8, 1, 8, 8)
    assert real.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert -1 <= float(real.min()) < -0.9
    assert 0.9 < float(real.max()) <= 1


def test_what_a_kill_behind_the_last_checkpoint_left_undone_is_done_on_resuming(
    tmp_path: Path, make_config: MakeConfig, images: ImageSet, console: Console
) -> None:
    run, config = new_run(tmp_path, "run"), make_config()
    train(config, images, run, console, CPU)
    checkpoints = run / "checkpoints"
    (last,) = list_checkpoints(checkpoints)
    network = (run / "network" / "model.safetensors").read_bytes()
    assert config.training.keep_checkpoints == 2
    for name in ("kimg-000098.safetensors", "kimg-000099.safetensors"):
        shutil.copy(last, checkpoints / name)
    (checkpoints / "kimg-000100.safetensors").write_bytes(network[:100])  # torn: it counts for nothing
    (run / "network" / "model.safetensors").write_bytes(b"")
    assert train(config, images, run, console, CPU)
    assert [path.stem for path in list_checkpoints(checkpoints)] == [
        "kimg-000098",
        "kimg-000099",
        "kimg-000100",
    ]
    assert (run / "network" / "model.safetensors").read_bytes() == network
