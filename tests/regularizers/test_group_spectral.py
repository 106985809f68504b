"""gSR: norms, weights, the persistent power iteration, and what it does to an exploding class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_lt.regularizers import (
    GroupSpectral,
    Latents,
    StepBatch,
    group_spectral,
    group_spectral_loss,
    spectral_norms,
)
from gan_lt.regularizers.group_spectral import matrix_shape

COUNTS = [1000, 100, 10]


def step_batch() -> StepBatch:
    empty = torch.zeros(2)
    return StepBatch("generator", 0, Latents(empty, None), empty, empty, empty)


@pytest.mark.parametrize(
    ("d", "shape"), [(1, (1, 1)), (7, (1, 7)), (12, (3, 4)), (64, (8, 8)), (512, (16, 32))]
)
def test_matrices_are_as_square_as_the_divisors_allow(d: int, shape: tuple[int, int]) -> None:
    assert matrix_shape(d) == shape


@pytest.mark.parametrize("d", [12, 64, 7])
def test_norms_are_those_of_numpy(d: int) -> None:
    params = torch.randn(5, d, dtype=torch.float64, generator=torch.Generator().manual_seed(d))
    expected = [np.linalg.norm(p.reshape(matrix_shape(d)).numpy(), 2) for p in params]
    assert spectral_norms(params).numpy() == pytest.approx(expected, rel=1e-12)
    assert spectral_norms(params, power_iterations=300).numpy() == pytest.approx(expected, rel=1e-3)


def test_loss_is_the_formula() -> None:
    g = torch.Generator().manual_seed(0)
    params = [
        torch.randn(3, 12, dtype=torch.float64, generator=g),
        torch.randn(3, 8, dtype=torch.float64, generator=g),
    ]
    effective = (1 - 0.99 ** np.array(COUNTS)) / (1 - 0.99)
    v = 1 / effective * 3 / (1 / effective).sum()
    total = sum(
        v[y] * np.linalg.norm(p[y].reshape(matrix_shape(p.shape[1])).numpy(), 2) ** 2
        for p in params
        for y in range(3)
    )
    assert float(group_spectral_loss(params, COUNTS, beta=0.99)) == pytest.approx(total / (2 * 3), rel=1e-12)


def test_balanced_counts_weigh_alike_and_permuting_classes_changes_nothing() -> None:
    params = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    order = torch.tensor([2, 0, 1])
    permuted = group_spectral_loss([params[order]], [COUNTS[i] for i in order])
    assert float(permuted) == pytest.approx(float(group_spectral_loss([params], COUNTS)), rel=1e-12)
    equal = group_spectral_loss([params], [7, 7, 7])
    assert float(equal) == pytest.approx(float(spectral_norms(params).square().mean()), rel=1e-12)


def test_gradient_is_that_of_finite_differences() -> None:
    params = torch.randn(
        3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: group_spectral_loss([p], COUNTS), [params])


def test_term_agrees_with_the_exact_norms_after_warm_up_and_resumes() -> None:
    params = torch.randn(3, 64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    term = GroupSpectral(lambda: [params], COUNTS)
    for _ in range(30):
        loss = term.generator_loss(step_batch())
    exact = group_spectral_loss([params], COUNTS)
    assert float(loss) == pytest.approx(float(exact), rel=1e-3)
    resumed = GroupSpectral(lambda: [params], COUNTS)
    resumed.load_state_dict(term.state_dict())
    assert torch.equal(resumed.generator_loss(step_batch()), term.generator_loss(step_batch()))
    assert term.statistics()["norm_max"] == pytest.approx(float(spectral_norms(params).max()), rel=1e-3)


def test_many_classes_give_the_same_norms_vectors_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    K = 1500
    g = torch.Generator().manual_seed(4)
    start = torch.randn(K, 48, dtype=torch.float64, generator=g)
    start[7] = 0  # no direction yet: its vectors and its gradient must stay finite
    start[9].view(6, 8)[:, 3] = 0  # nothing of this column is left in the vectors
    found = []
    for many in (1024, 10**9):
        monkeypatch.setattr(group_spectral, "_MANY", many)
        params = start.clone().requires_grad_()
        term = GroupSpectral(lambda params=params: [params], [1 + k % 100 for k in range(K)], iterations=3)  # type: ignore[misc]
        losses = [term.generator_loss(step_batch()) for _ in range(2)]
        assert losses[1] is not None
        losses[1].backward()  # type: ignore[no-untyped-call]
        assert params.grad is not None
        found.append((losses[1].detach(), term.get_buffer("v0").clone(), params.grad))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-12)


def test_the_start_of_the_iterations_is_fixed_and_draws_nothing() -> None:
    params = torch.randn(3, 64, generator=torch.Generator().manual_seed(4))
    state = torch.get_rng_state()
    first = GroupSpectral(lambda: [params], COUNTS, iterations=1)
    assert torch.equal(torch.get_rng_state(), state)
    second = GroupSpectral(lambda: [params], COUNTS, iterations=1)
    assert torch.equal(first.generator_loss(step_batch()), second.generator_loss(step_batch()))
    assert torch.equal(spectral_norms(params, 2), spectral_norms(params, 2))


@pytest.mark.parametrize(("classes", "listed"), [(3, 3), (20, 20), (21, 0)])
def test_statistics_list_every_class_of_up_to_20(classes: int, listed: int) -> None:
    params = torch.eye(classes, 16) * 2
    term = GroupSpectral(lambda: [params, params], [9] * classes)
    assert term.statistics() == {}
    term.generator_loss(step_batch())
    figures = term.statistics()
    norms = spectral_norms(params).tolist()
    assert figures.pop("norm_mean") == pytest.approx(sum(norms) / classes)
    assert figures.pop("norm_max") == pytest.approx(2.0)
    expected = {f"norm_class_{k}": pytest.approx(norms[k], abs=1e-6) for k in range(listed)}
    assert figures == expected


def test_penalty_shrinks_an_exploding_rare_class_the_most() -> None:
    params = torch.randn(3, 64, generator=torch.Generator().manual_seed(4))
    params[2] *= 20
    params.requires_grad_()
    before = spectral_norms(params).detach()
    term = GroupSpectral(lambda: [params], COUNTS, beta=0.99)
    optimizer = torch.optim.SGD([params], lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        term.generator_loss(step_batch()).backward()
        optimizer.step()
    ratio = spectral_norms(params).detach() / before
    assert ratio[2] < 0.2
    assert ratio[2] < ratio[1] < ratio[0]


@pytest.mark.parametrize(
    ("params", "counts", "named"),
    [([], [1], "empty"), ([torch.zeros(2, 4)], [1, 2, 3], r"\[2, 4\]"), ([torch.zeros(2, 4)], [1, 0], "0.0")],
)
def test_bad_input_is_named(params: list[torch.Tensor], counts: list[int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        group_spectral_loss(params, counts)
