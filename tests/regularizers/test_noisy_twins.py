"""NoisyTwins: its loss as a formula, and the latents it prepares."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_lt.losses import ADVERSARIAL_LOSSES
from gan_lt.models import Generator
from gan_lt.regularizers import Latents, NoisyTwins, StepBatch, class_noise_std, noisy_twins_loss
from gan_lt.regularizers.registry import REGULARIZERS, TermContext, build_terms


def decorrelated(b: int, d: int) -> Tensor:
    """[b, d] float64 with mean 0, variance 1 and no correlation between coordinates."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(b, d + 1, generator=generator, dtype=torch.float64)
    raw[:, 0] = 1  # the other columns come out orthogonal to the constant, so centred
    q, _ = torch.linalg.qr(raw)
    return q[:, 1:] * b**0.5


def by_hand(w_a: Tensor, w_b: Tensor, gamma: float) -> float:
    a, b = w_a.detach().double().numpy(), w_b.detach().double().numpy()
    a = (a - a.mean(axis=0)) / np.sqrt(a.var(axis=0) + 1e-5)
    b = (b - b.mean(axis=0)) / np.sqrt(b.var(axis=0) + 1e-5)
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            c = float(np.mean(a[:, i] * b[:, j]))
            total += (1 - c) ** 2 if i == j else gamma * c**2
    return total


def test_identical_decorrelated_twins_cost_nothing() -> None:
    w = decorrelated(32, 6)
    # (1 - 1 / (1 + eps))^2 a coordinate is left of the eps in the standardisation
    assert float(noisy_twins_loss(w, w, 1.0)) < 6 * 1.01e-10
    assert float(noisy_twins_loss(3 * w + 5, 3 * w + 5, 1.0)) < 6 * 1.01e-10


def test_independent_twins_cost_one_a_coordinate() -> None:
    w = decorrelated(32, 12)
    torch.testing.assert_close(
        noisy_twins_loss(w[:, :6], w[:, 6:], 1.0), torch.tensor(6.0, dtype=torch.float64)
    )


def test_fully_correlated_coordinates_cost_gamma_each() -> None:
    w = decorrelated(16, 1).repeat(1, 4)
    assert float(noisy_twins_loss(w, w, 0.05)) == pytest.approx(0.05 * 12, rel=1e-4)


@pytest.mark.parametrize(("b", "d", "gamma"), [(2, 3, 0.05), (16, 5, 0.005), (7, 11, 1.0), (8, 1, 0.3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value(b: int, d: int, gamma: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(b)
    w_a, noise = torch.randn(b, d, generator=generator), torch.randn(b, d, generator=generator)
    w_a, w_b = (w_a * 2 + 1).to(dtype), (w_a + 0.5 * noise).to(dtype)
    loss = noisy_twins_loss(w_a, w_b, gamma)
    assert loss.dtype == dtype
    assert loss.shape == ()
    assert float(loss) == pytest.approx(
        by_hand(w_a, w_b, gamma), rel=1e-4 if dtype == torch.float32 else 1e-10
    )


def test_half_precision_is_computed_in_float32() -> None:
    w = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert noisy_twins_loss(w, w).dtype == torch.float32
    assert float(noisy_twins_loss(w, w)) == pytest.approx(by_hand(w, w, 0.05), rel=1e-4)


def test_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    w_a, w_b = (
        torch.randn(5, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)
    )
    assert torch.autograd.gradcheck(lambda a, b: noisy_twins_loss(a, b, 0.1), (w_a, w_b))


def test_falls_under_gradient_descent_and_decorrelates() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(32, 1, generator=generator)
    w_a = (base + 0.1 * torch.randn(32, 6, generator=generator)).requires_grad_()
    w_b = (base + 0.1 * torch.randn(32, 6, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([w_a, w_b], lr=0.05)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = noisy_twins_loss(w_a, w_b, 0.5)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
    correlation = torch.corrcoef(w_a.detach().t()) - torch.eye(6)
    assert float(correlation.abs().max()) < 0.3


@pytest.mark.parametrize(
    ("shapes", "gamma", "value"),
    [
        (([4, 3], [4, 2]), 0.1, r"\[4, 3\] and \[4, 2\]"),
        (([4], [4]), 0.1, r"\[4\]"),
        (([2, 4, 3], [2, 4, 3]), 0.1, r"\[2, 4, 3\]"),
        (([1, 3], [1, 3]), 0.1, "1 pair"),
        (([0, 3], [0, 3]), 0.1, "0 pair"),
        (([4, 3], [4, 3]), -1.0, "off_diagonal_weight=-1.0"),
        (([4, 3], [4, 3]), float("nan"), "off_diagonal_weight=nan"),
    ],
)
def test_bad_input_is_named(shapes: tuple[list[int], list[int]], gamma: float, value: str) -> None:
    with pytest.raises(ValueError, match=value):
        noisy_twins_loss(torch.zeros(shapes[0]), torch.zeros(shapes[1]), gamma)


COUNTS = [1000, 100, 5]


@pytest.fixture
def latents() -> Latents:
    torch.manual_seed(0)
    return Latents(torch.randn(8, 4), torch.tensor([0, 1, 2, 2, 0, 0, 1, 2]))


def test_generator_phase_makes_pairs(latents: Latents) -> None:
    prepared = NoisyTwins(COUNTS, w_dim=6).prepare(latents, "generator", step=0)
    assert prepared.y is not None
    assert latents.y is not None
    assert prepared.embedding_noise is not None
    assert torch.equal(prepared.z[:4], prepared.z[4:])
    assert torch.equal(prepared.z[:4], latents.z[:4])
    assert torch.equal(prepared.y[:4], prepared.y[4:])
    assert torch.equal(prepared.y[:4], latents.y[:4])
    assert prepared.embedding_noise.shape == (8, 6)
    assert not bool((prepared.embedding_noise[:4] == prepared.embedding_noise[4:]).any())


def test_discriminator_phase_has_noise_alone(latents: Latents) -> None:
    prepared = NoisyTwins(COUNTS, w_dim=6).prepare(latents, "discriminator", step=0)
    assert prepared.z is latents.z
    assert prepared.y is latents.y
    assert prepared.embedding_noise is not None
    assert prepared.embedding_noise.shape == (8, 6)
    assert bool((prepared.embedding_noise != 0).all())


def test_nothing_happens_before_its_start(latents: Latents) -> None:
    term = NoisyTwins(COUNTS, w_dim=6, start_step=10)
    for phase in ("generator", "discriminator"):
        assert term.prepare(latents, phase, step=9) is latents
        assert term.prepare(latents, phase, step=10).embedding_noise is not None
    prepared = NoisyTwins(COUNTS, w_dim=6).prepare(latents, "generator", 0)
    batch = StepBatch("generator", 9, prepared, torch.randn(8, 6), torch.zeros(8, 1, 8, 8), torch.zeros(8))
    assert term.generator_loss(batch) is None


def test_without_weight_there_is_noise_but_no_twins(latents: Latents) -> None:
    term = NoisyTwins(COUNTS, w_dim=6, weight=0)
    prepared = term.prepare(latents, "generator", 0)
    assert prepared.z is latents.z
    assert prepared.embedding_noise is not None
    batch = StepBatch("generator", 0, prepared, torch.randn(8, 6), torch.zeros(8, 1, 8, 8), torch.zeros(8))
    assert term.generator_loss(batch) is None


def test_term_returns_the_loss_of_its_twins(latents: Latents) -> None:
    term = NoisyTwins(COUNTS, w_dim=6, gamma=0.2)
    prepared = term.prepare(latents, "generator", 0)
    w = torch.randn(8, 6)
    loss = term.generator_loss(
        StepBatch("generator", 0, prepared, w, torch.zeros(8, 1, 8, 8), torch.zeros(8))
    )
    assert loss is not None
    assert float(loss) == pytest.approx(by_hand(w[:4], w[4:], 0.2), rel=1e-4)


def test_noise_of_every_class_has_its_standard_deviation() -> None:
    torch.manual_seed(0)
    y = torch.arange(3).repeat_interleave(2000)
    term = NoisyTwins(COUNTS, w_dim=16, sigma=0.6, beta=0.99)
    noise = term.prepare(Latents(torch.zeros(6000, 2), y), "discriminator", 0).embedding_noise
    assert noise is not None
    expected = class_noise_std(COUNTS, 0.6, 0.99)
    for k in range(3):
        values = noise[y == k].double()
        assert float(values.std()) == pytest.approx(float(expected[k]), rel=0.02)
        assert abs(float(values.mean())) < 4 * float(expected[k]) / 32000**0.5


def test_odd_batch_and_unconditional_latents(latents: Latents) -> None:
    term = NoisyTwins(COUNTS, w_dim=6)
    assert latents.y is not None
    with pytest.raises(ValueError, match="got 7"):
        term.prepare(Latents(latents.z[:7], latents.y[:7]), "generator", 0)
    unconditional = Latents(latents.z, None)
    assert term.prepare(unconditional, "generator", 0) is unconditional


def test_noise_gives_a_rare_class_a_higher_rank_in_w() -> None:
    """exp of the entropy of the singular values of centred w (Roy & Vetterli, 2007), one z: all variety is the noise's."""
    torch.manual_seed(0)
    G = Generator(z_dim=4, num_classes=3, w_dim=8, resolution=8, channel_max=4, mapping_layers=2)
    y = torch.full([256], 2)
    # a mapping network that has collapsed on its class: z hardly reaches w
    G.mapping.layers[0].weight.data[:, :4] *= 1e-3
    plain = Latents(torch.randn(256, 4), y)
    noisy = NoisyTwins(COUNTS, w_dim=8, sigma=0.5, beta=0.99).prepare(plain, "discriminator", 0)

    def spread_and_rank(latents: Latents) -> tuple[float, float]:
        with torch.no_grad():
            w = G.mapping.style(latents.z, latents.y, latents.embedding_noise).double()
        values = torch.linalg.svdvals(w - w.mean(dim=0))
        p = values / values.sum()
        return float(values.sum()), float(torch.exp(-(p * p.clamp_min(1e-30).log()).sum()))

    spread, rank = spread_and_rank(plain)
    noisy_spread, noisy_rank = spread_and_rank(noisy)
    assert noisy_spread > 100 * spread
    assert noisy_rank > rank + 1


def test_it_says_which_drawn_row_each_twin_came_from() -> None:
    """Relativistic losses pair row i with real image i: without `origin` twins would be judged beside another class's."""
    term = NoisyTwins([40, 15, 5], w_dim=6)
    z, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    twins = term.prepare(Latents(z, y), "generator", 0)
    assert twins.origin is not None
    assert twins.origin.tolist() == [0, 1, 2, 0, 1, 2]
    again = term.prepare(Latents(z, y, None, torch.tensor([5, 4, 3, 2, 1, 0])), "generator", 0)
    assert again.origin is not None
    assert again.origin.tolist() == [5, 4, 3, 5, 4, 3]
    assert term.prepare(Latents(z, y), "discriminator", 0).origin is None


def test_the_noise_follows_the_counts_of_the_run_not_of_the_checkpoint() -> None:
    assert "noise_std" not in NoisyTwins([40, 15, 5], w_dim=6).state_dict()


def test_registry() -> None:
    context = TermContext(
        counts=COUNTS,
        generator=torch.nn.Identity(),
        discriminator=torch.nn.Identity(),
        adversarial=ADVERSARIAL_LOSSES["logistic"],
        augment=torch.clone,
        conditioning=list,
        w_dim=6,
        settings={"weight": 0.3, "gamma": 0.1, "sigma": 0.2, "beta": 0.5, "start_step": 4},
    )
    (term,) = build_terms(["noisytwins"], {"noisytwins": context})
    assert isinstance(term, NoisyTwins)
    assert (term.weight, term.gamma, term.start_step) == (0.3, 0.1, 4)
    torch.testing.assert_close(term.noise_std, class_noise_std(COUNTS, 0.2, 0.5).float())
    assert "noisytwins" in REGULARIZERS
    with pytest.raises(ValueError, match=r"weight=-1"):
        NoisyTwins(COUNTS, 6, weight=-1)
