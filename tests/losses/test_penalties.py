"""Gradient penalties where their values are known."""

from __future__ import annotations

import math

import pytest
import torch

from gan_lt.losses import PathLength, gradient_penalty


def test_penalty_of_a_linear_discriminator_is_its_squared_norm() -> None:
    torch.manual_seed(0)
    w = torch.randn(2, 4, 4, dtype=torch.float64)
    images = torch.randn(5, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(images, (images * w).sum(dim=[1, 2, 3]) + 3)
    torch.testing.assert_close(penalty, w.square().sum().expand(5))


def test_penalty_is_per_image_and_differentiable() -> None:
    images = torch.randn(3, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    a = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    # D(x) = a / 2 * ||x||^2, so the gradient is a x and its square a^2 ||x||^2
    penalty = gradient_penalty(images, a / 2 * images.square().sum(dim=[1, 2, 3]))
    norms = images.detach().square().sum(dim=[1, 2, 3])
    torch.testing.assert_close(penalty, a.detach() ** 2 * norms)
    (slope,) = torch.autograd.grad(penalty.sum(), a)
    torch.testing.assert_close(slope, 2 * a.detach() * norms.sum())


def test_images_without_gradient_are_refused() -> None:
    with pytest.raises(ValueError, match="require grad"):
        gradient_penalty(torch.zeros(1, 1, 2, 2), torch.zeros(1))


def test_path_length_of_a_linear_generator() -> None:
    torch.manual_seed(0)
    n, layers, size, h = 4, 3, 5, 8
    A = torch.randn(1 * h * h, layers * size, dtype=torch.float64)
    ws = torch.randn(n, layers, size, dtype=torch.float64, requires_grad=True)
    images = (ws.flatten(1) @ A.t()).reshape(n, 1, h, h)
    state = torch.get_rng_state()
    noise = torch.randn_like(images).flatten(1) / math.sqrt(h * h)
    lengths = ((noise @ A).reshape(n, layers, size).square().sum(dim=2).mean(dim=1)).sqrt()
    torch.set_rng_state(state)
    penalty = PathLength(decay=0.25).double()
    values = penalty(images, ws)
    mean = 0.25 * lengths.mean()
    torch.testing.assert_close(penalty.mean, mean)
    torch.testing.assert_close(values, (lengths - mean).square())


def test_path_length_mean_follows_and_is_saved() -> None:
    torch.manual_seed(0)
    penalty = PathLength(decay=0.5)
    ws = torch.ones(64, 2, 3, requires_grad=True)
    for _ in range(20):
        # every image is 2 * (sum of ws), so J^T noise = 2 * sum(noise) in every coordinate
        images = (2 * ws.sum(dim=[1, 2]))[:, None, None, None].expand(64, 1, 16, 16)
        penalty(images, ws)
    # E|N(0, 1)| = sqrt(2 / pi), times 2 * sqrt(3) for a row of three coordinates
    assert abs(float(penalty.mean) - 2 * math.sqrt(3) * math.sqrt(2 / math.pi)) < 0.4
    copy = PathLength()
    copy.load_state_dict(penalty.state_dict())
    assert torch.equal(copy.mean, penalty.mean)
