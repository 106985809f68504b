"""Transitional-cGAN: unconditional first, then classes are faded into the generator and into the loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_lt.losses import ADVERSARIAL_LOSSES
from gan_lt.models import Generator
from gan_lt.regularizers import Latents, StepBatch, Transitional
from gan_lt.training.ema import update_ema

LOGISTIC = ADVERSARIAL_LOSSES["logistic"]


def generator(**changes: object) -> Generator:
    torch.manual_seed(0)
    settings = {
        "z_dim": 8,
        "num_classes": 3,
        "w_dim": 8,
        "resolution": 8,
        "channel_max": 8,
        "mapping_layers": 2,
        "fading_classes": True,
        **changes,
    }
    return Generator(**settings)  # type: ignore[arg-type]


def term(scales: list[float] | None = None, **changes: object) -> Transitional:
    torch.manual_seed(0)
    set_scale = (lambda _: None) if scales is None else scales.append
    settings = {"start_step": 100, "end_step": 200, **changes}
    return Transitional(set_scale, nn.Linear(5, 1), LOGISTIC, **settings)  # type: ignore[arg-type]


def batch(step: int, fake: Tensor, real: Tensor | None) -> StepBatch:
    n = len(fake)
    nothing = torch.zeros(n, 2)
    return StepBatch(
        "discriminator",
        step,
        Latents(nothing, None),
        nothing,
        nothing,
        torch.zeros(n),
        fake_features=fake,
        real_features=real,
    )


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (100, 0.0), (125, 0.25), (200, 1.0), (10**6, 1.0)])
def test_conditioning_is_faded_in_linearly(step: int, expected: float) -> None:
    scales: list[float] = []
    method = term(scales)
    latents = Latents(torch.zeros(2, 8), torch.tensor([0, 1]))
    assert method.prepare(latents, "generator", step) is latents
    assert scales == [expected]
    assert method.adversarial_weight(step) == expected
    assert method.statistics() == {"lambda": expected}


@pytest.mark.parametrize(
    ("remaining", "shares"), [(1.0, [1, 1, 1]), (0.0, [1, 0.5, 0]), (0.5, [1, 0.75, 0.5])]
)
def test_loss_is_the_formula(remaining: float, shares: list[float]) -> None:
    method = term(remaining=remaining).double()
    g = torch.Generator().manual_seed(1)
    fake, real = (torch.randn(6, 5, dtype=torch.float64, generator=g) for _ in range(2))
    x, f = method.head(real).squeeze(1), method.head(fake).squeeze(1)
    for step, share in zip([50, 150, 300], shares, strict=True):
        loss_d = (torch.log1p(f.exp()) + torch.log1p((-x).exp())).mean()
        loss_g = torch.log1p((-f).exp()).mean()
        torch.testing.assert_close(method.discriminator_loss(batch(step, fake, real)), share * loss_d)
        torch.testing.assert_close(method.generator_loss(batch(step, fake, None)), share * loss_g)
        own = torch.randn(6, dtype=torch.float64, generator=g)
        verdict = method.verdict(own, real, step)
        torch.testing.assert_close(verdict, method.adversarial_weight(step) * own + share * x)


def test_before_the_first_step_nothing_is_faded_in() -> None:
    assert term().statistics() == {"lambda": 0.0}


def test_a_relativistic_loss_compares_with_the_real_side() -> None:
    relativistic = ADVERSARIAL_LOSSES["rpgan"]
    method = term()
    method.adversarial = relativistic
    g = torch.Generator().manual_seed(1)
    fake, real = torch.randn(6, 5, generator=g), torch.randn(6, 5, generator=g)
    x, f = method.head(real).squeeze(1), method.head(fake).squeeze(1)
    loss = method.generator_loss(batch(50, fake, real))
    torch.testing.assert_close(loss, relativistic.generator(f, x).mean())


def test_no_loss_without_what_it_compares() -> None:
    features = torch.zeros(2, 5)
    assert term().discriminator_loss(batch(50, features, None)) is None
    without = replace(batch(50, features, features), fake_features=None)
    assert term().discriminator_loss(without) is None
    assert term().generator_loss(without) is None


def test_gradient_against_finite_differences() -> None:
    method = term().double()
    g = torch.Generator().manual_seed(2)
    fake, real = (torch.randn(3, 5, dtype=torch.float64, generator=g).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: method.discriminator_loss(batch(150, a, b)), [fake, real])


def test_at_scale_0_the_class_has_no_say_and_at_1_it_has_all() -> None:
    G, plain = generator(), generator(fading_classes=False)
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(3))
    first, second = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    G.set_class_scale(0.0)
    assert torch.equal(G.mapping(z, first), G.mapping(z, second))
    torch.testing.assert_close(G.mapping(z, first)[:, 0], G.mapping.style_without_class(z))
    G.set_class_scale(1.0)
    plain.load_state_dict({k: v for k, v in G.state_dict().items() if k != "mapping.class_scale"})
    assert torch.equal(G.mapping(z, first), plain.mapping(z, first))
    with pytest.raises(ValueError, match=r"0\.5"):
        plain.set_class_scale(0.5)


def test_the_averaged_and_the_saved_generator_are_as_far_as_the_training(tmp_path: Path) -> None:
    G, average = generator(), generator()
    G.set_class_scale(0.25)
    update_ema(average, G, decay=0.9)
    assert float(average.mapping.class_scale) == 0.25  # type: ignore[arg-type]
    average.save_pretrained(tmp_path)
    assert float(Generator.from_pretrained(tmp_path).mapping.class_scale) == 0.25  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"end_step": 100}, "end_step=100"),
        ({"start_step": -1}, "start_step=-1"),
        ({"remaining": 1.5}, "remaining=1.5"),
        ({"weight": -1.0}, "weight=-1"),
    ],
)
def test_bad_settings_are_named(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        term(**changes)  # type: ignore[arg-type]
