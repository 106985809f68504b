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


def plain_iteration(P: torch.Tensor, v: torch.Tensor, iterations: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Norm and right vector of one matrix [g, h] by the textbook's power iteration."""
    for _ in range(iterations):
        u = torch.nn.functional.normalize(P.detach() @ v, dim=0)
        new = P.detach().T @ u
        v = new / new.norm() if new.norm() > 0 else v
    return u @ P @ v, v


@pytest.mark.parametrize("block", [1, 7 * 48, 1 << 19])
def test_blocks_give_the_norms_vectors_and_gradients_of_one_matrix_at_a_time(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    K = 15
    monkeypatch.setattr(group_spectral, "_BLOCK", block)
    g = torch.Generator().manual_seed(4)
    start = torch.randn(3, K, 48, dtype=torch.float64, generator=g)
    start[0, 7] = 0  # no direction yet: its vectors and its gradient must stay finite
    start[1, 9].view(6, 8)[:, 3] = 0  # nothing of this column is left in the vectors
    layers = list(start.clone().requires_grad_().unbind())  # iterated together
    for layer in layers:
        layer.retain_grad()
    term = GroupSpectral(lambda: layers, [1 + k for k in range(K)], iterations=3)
    first = [term.get_buffer(f"v{index}").clone() for index in range(3)]
    losses = [term.generator_loss(step_batch()) for _ in range(2)]
    assert losses[1] is not None
    losses[1].backward()  # type: ignore[no-untyped-call]

    expected = start.clone().requires_grad_()
    found = [
        [plain_iteration(P.view(6, 8), v, 33) for P, v in zip(layer, vectors, strict=True)]
        for layer, vectors in zip(expected, first, strict=True)
    ]
    norms = [torch.stack([norm for norm, _ in row]) for row in found]
    loss = group_spectral_loss(list(expected), [1 + k for k in range(K)], norms=norms)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(losses[1], loss, rtol=1e-9, atol=1e-12)
    for index, layer in enumerate(layers):
        vectors = torch.stack([v for _, v in found[index]])
        torch.testing.assert_close(term.get_buffer(f"v{index}"), vectors, rtol=1e-9, atol=1e-12)
        assert expected.grad is not None
        torch.testing.assert_close(layer.grad, expected.grad[index], rtol=1e-9, atol=1e-12)


def test_iterated_norms_say_that_they_have_no_second_derivative() -> None:
    params = torch.randn(3, 12, generator=torch.Generator().manual_seed(5), requires_grad=True)
    (gradient,) = torch.autograd.grad(spectral_norms(params, 5).square().sum(), params, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
    exact = spectral_norms(params).square().sum()
    (gradient,) = torch.autograd.grad(exact, params, create_graph=True)
    gradient.sum().backward()  # the exact norms have one


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
