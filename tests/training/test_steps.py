"""One training step: every kind of it moves both networks, and shows them what it should."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_lt.config import TrainConfig
from gan_lt.data import ImageSet
from gan_lt.errors import InputError
from gan_lt.training import loop, step
from gan_lt.training.monitor import Averages, Monitor
from gan_lt.training.state import TrainingState
from tests.training.runs import at_resolution, differences

CPU = torch.device("cpu")
MakeConfig = Callable[..., TrainConfig]


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
                "training": {"micro_batch": micro, "precision": "fp32"},
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


@pytest.mark.parametrize(
    ("loss", "found"),
    [(torch.ones(8), r"a tensor of shape \[8\]"), (torch.ones(1), r"a tensor of shape \[1\]"), (0.5, "0.5")],
)
@pytest.mark.parametrize("half", ["discriminator_loss", "generator_loss"])
def test_a_loss_that_is_no_scalar_names_its_method(
    half: str,
    loss: Any,
    found: str,
    make_config: MakeConfig,
    images: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = TrainingState(make_config(regularizers=["lecam"]), images, CPU)
    monkeypatch.setattr(state.objective.terms[0], half, lambda batch: loss)
    with pytest.raises(InputError, match=f"lecam: its loss is {found}"):
        loop.training_step(state, Averages())


@pytest.mark.parametrize("figure", [torch.ones(3), "high", None, np.ones(2)])
def test_statistics_that_are_no_numbers_name_their_method(figure: Any, tmp_path: Path) -> None:
    monitor = Monitor(tmp_path)
    try:
        with pytest.raises(InputError, match=r"^mymethod/count: .* can't be logged") as caught:
            monitor.log(16, {"mymethod/count": figure})
        assert "\n" not in str(caught.value)
        monitor.log(16, {"a": torch.tensor(2.5), "b": np.float32(1), "c": float("nan"), "d": torch.ones(1)})  # type: ignore[dict-item]
    finally:
        monitor.close()
    (line,) = (json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines())
    assert {key: line.get(key) for key in "abcd"} == {"a": 2.5, "b": 1, "c": None, "d": 1}
