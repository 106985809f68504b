"""Adversarial losses against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_lt.losses import ADVERSARIAL_LOSSES

RNG = np.random.default_rng(0)
FAKE, REAL = RNG.normal(size=9) * 4, RNG.normal(size=9) * 4


def softplus(x: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


GENERATOR = {"logistic": softplus(-FAKE), "hinge": -FAKE, "rpgan": softplus(-(FAKE - REAL))}
DISCRIMINATOR = {
    "logistic": softplus(FAKE) + softplus(-REAL),
    "hinge": np.maximum(0, 1 + FAKE) + np.maximum(0, 1 - REAL),
    "rpgan": softplus(-(REAL - FAKE)),
}


def test_every_loss_is_checked() -> None:
    assert set(ADVERSARIAL_LOSSES) == set(GENERATOR)


@pytest.mark.parametrize("name", GENERATOR)
def test_values(name: str) -> None:
    loss = ADVERSARIAL_LOSSES[name]
    fake, real = torch.from_numpy(FAKE), torch.from_numpy(REAL)
    np.testing.assert_allclose(loss.generator(fake, real).numpy(), GENERATOR[name], rtol=1e-12)
    np.testing.assert_allclose(loss.discriminator(fake, real).numpy(), DISCRIMINATOR[name], rtol=1e-12)


@pytest.mark.parametrize("name", GENERATOR)
def test_the_networks_pull_in_opposite_directions(name: str) -> None:
    loss = ADVERSARIAL_LOSSES[name]
    fake, real = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    (up,) = torch.autograd.grad(loss.generator(fake, real).sum(), fake)
    down, up_real = torch.autograd.grad(loss.discriminator(fake, real).sum(), (fake, real))
    assert bool((up < 0).all())
    assert bool((down > 0).all())
    assert bool((up_real < 0).all())


@pytest.mark.parametrize("name", GENERATOR)
def test_large_logits_stay_finite(name: str) -> None:
    loss = ADVERSARIAL_LOSSES[name]
    for value in (1e4, -1e4):
        fake, real = torch.tensor([value]), torch.tensor([-value])
        assert bool(torch.isfinite(loss.generator(fake, real)).all())
        assert bool(torch.isfinite(loss.discriminator(fake, real)).all())


def test_relativistic_loss_sees_differences_only() -> None:
    loss = ADVERSARIAL_LOSSES["rpgan"]
    fake, real = torch.from_numpy(FAKE), torch.from_numpy(REAL)
    assert loss.relativistic
    torch.testing.assert_close(loss.generator(fake + 3, real + 3), loss.generator(fake, real))
    torch.testing.assert_close(loss.discriminator(fake + 3, real + 3), loss.discriminator(fake, real))
    with pytest.raises(ValueError, match="None"):
        loss.generator(fake, None)


def test_other_losses_need_no_real_logits_in_the_generator_step() -> None:
    fake = torch.from_numpy(FAKE)
    for name in ("logistic", "hinge"):
        assert not ADVERSARIAL_LOSSES[name].relativistic
        np.testing.assert_allclose(ADVERSARIAL_LOSSES[name].generator(fake, None).numpy(), GENERATOR[name])
