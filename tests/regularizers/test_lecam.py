"""LeCam: the formula, its running means, and that it pulls logits to the anchors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_lt.regularizers import Latents, LeCam, StepBatch, lecam_loss


def step_batch(real: torch.Tensor, fake: torch.Tensor) -> StepBatch:
    empty = torch.zeros(2)
    return StepBatch("discriminator", 0, Latents(empty, None), empty, empty, fake, real_logits=real)


def test_loss_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(1, 2, 50), rng.normal(-1, 2, 40)
    expected = (np.maximum(real + 0.5, 0) ** 2).mean() + (np.maximum(0.7 - fake, 0) ** 2).mean()
    got = lecam_loss(torch.from_numpy(real), torch.from_numpy(fake), 0.7, -0.5)
    assert float(got) == pytest.approx(expected, rel=1e-12)


def test_gradient_against_finite_differences() -> None:
    g = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(6, dtype=torch.float64, generator=g).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(lambda r, f: lecam_loss(r, f, 0.4, -0.3), [real, fake])


def test_running_means_start_at_the_first_batch_and_decay() -> None:
    term = LeCam(decay=0.9)
    term.discriminator_loss(step_batch(torch.full([4], 2.0), torch.full([4], -1.0)))
    assert term.statistics() == {"real_ema": 2.0, "fake_ema": -1.0}
    term.discriminator_loss(step_batch(torch.full([4], 3.0), torch.full([4], -2.0)))
    assert term.statistics()["real_ema"] == pytest.approx(2.1)
    assert term.statistics()["fake_ema"] == pytest.approx(-1.1)


@pytest.mark.parametrize(("real", "fake"), [(float("inf"), 0.0), (0.0, float("nan"))])
def test_a_step_that_overflowed_on_either_side_leaves_the_means(real: float, fake: float) -> None:
    term = LeCam(decay=0.9)
    term.discriminator_loss(step_batch(torch.full([4], 2.0), torch.full([4], -1.0)))
    term.discriminator_loss(step_batch(torch.full([4], real), torch.full([4], fake)))
    assert term.statistics() == {"real_ema": 2.0, "fake_ema": -1.0}


def test_gradient_descent_brings_the_logits_together() -> None:
    term = LeCam()
    real, fake = torch.full([4], 5.0, requires_grad=True), torch.full([4], -5.0, requires_grad=True)
    gap = float((real - fake).mean().detach())
    for _ in range(20):
        loss = term.discriminator_loss(step_batch(real, fake))
        grads = torch.autograd.grad(loss, [real, fake])
        with torch.no_grad():
            real -= 0.1 * grads[0]
            fake -= 0.1 * grads[1]
    assert float((real - fake).mean()) < 0.5 * gap


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="decay=1"):
        LeCam(decay=1.0)
    with pytest.raises(ValueError, match="0 real"):
        lecam_loss(torch.zeros(0), torch.zeros(1), 0, 0)
