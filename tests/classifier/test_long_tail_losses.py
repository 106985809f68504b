"""The losses against float64 NumPy, closed forms and one another."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_lt.classifier.losses import (
    class_balanced,
    cross_entropy,
    focal,
    ldam,
    ldam_margins,
    logit_adjustment,
)

COUNTS = [400, 81, 16, 1]


def batch(n: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 4, [n], generator=generator)


def negative_log_softmax(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    exact: NDArray[np.float64] = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    return exact


def test_margins_in_closed_form() -> None:
    # n^(-1/4) of 10000, 625, 16, 1 is 0.1, 0.2, 0.5, 1
    margins = ldam_margins([10000, 625, 16, 1], max_margin=0.5)
    torch.testing.assert_close(margins, torch.tensor([0.05, 0.1, 0.25, 0.5], dtype=torch.float64))
    assert float(ldam_margins([900, 30], 0.3).max()) == pytest.approx(0.3)
    assert ldam_margins([7, 7, 7]).tolist() == [0.5] * 3


def test_ldam_value() -> None:
    logits, labels = batch()
    x, y = logits.numpy().copy(), labels.numpy()
    m = 0.5 * np.array(COUNTS, dtype=np.float64) ** -0.25
    x[np.arange(len(y)), y] -= 30 * m[y]
    per_image = negative_log_softmax(x, y)
    assert float(ldam(logits, labels, COUNTS)) == pytest.approx(per_image.mean(), rel=1e-12)
    v = torch.tensor([0.2, 0.5, 1.0, 2.3], dtype=torch.float64)
    weighted = (v.numpy()[y] * per_image).sum() / v.numpy()[y].sum()
    assert float(ldam(logits, labels, COUNTS, weights=v)) == pytest.approx(weighted, rel=1e-12)


def test_class_balanced_value() -> None:
    logits, labels = batch()
    y = labels.numpy()
    effective = np.array([sum(0.99**i for i in range(n)) for n in COUNTS])
    w = (1 / effective)[y]
    expected = (w * negative_log_softmax(logits.numpy(), y)).sum() / w.sum()
    assert float(class_balanced(logits, labels, COUNTS, beta=0.99)) == pytest.approx(expected, rel=1e-10)


def test_focal_value() -> None:
    logits, labels = batch()
    nll = negative_log_softmax(logits.numpy(), labels.numpy())
    expected = ((1 - np.exp(-nll)) ** 1.5 * nll).mean()
    assert float(focal(logits, labels, gamma=1.5)) == pytest.approx(expected, rel=1e-9)


def test_logit_adjustment_value() -> None:
    logits, labels = batch()
    prior = np.array(COUNTS) / sum(COUNTS)
    expected = negative_log_softmax(logits.numpy() + 0.7 * np.log(prior), labels.numpy()).mean()
    assert float(logit_adjustment(logits, labels, COUNTS, tau=0.7)) == pytest.approx(expected, rel=1e-12)


def test_each_contains_cross_entropy() -> None:
    logits, labels = batch()
    plain = float(cross_entropy(logits, labels))
    assert float(ldam(logits, labels, COUNTS, max_margin=0)) == pytest.approx(plain)
    assert float(class_balanced(logits, labels, COUNTS, beta=0)) == pytest.approx(plain)
    assert float(focal(logits, labels, gamma=0)) == pytest.approx(plain)
    assert float(logit_adjustment(logits, labels, [9, 9, 9, 9])) == pytest.approx(plain)


LOSSES: list[Callable[[Tensor, Tensor, Tensor], Tensor]] = [
    lambda x, y, n: ldam(x, y, n, scale=3),
    lambda x, y, n: class_balanced(x, y, n, beta=0.99),
    lambda x, y, n: focal(x, y),
    lambda x, y, n: logit_adjustment(x, y, n),
]


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_and_permutations(loss: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    logits, labels = batch(5)
    counts = torch.tensor(COUNTS)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels, counts), logits.clone().requires_grad_())
    order = torch.tensor([2, 0, 3, 1])
    permuted = loss(logits[:, order], order.argsort()[labels], counts[order])
    torch.testing.assert_close(permuted, loss(logits, labels, counts))


def test_focal_is_finite_for_certain_answers() -> None:
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss = focal(logits, torch.tensor([0, 0]), gamma=0.5)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(100)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda x, y: ldam(x, y, [1, 2]), "2 classes"),
        (lambda x, y: ldam(x, y, [3, 2, 1, 0]), "0.0"),
        (lambda x, y: ldam(x, y, COUNTS, max_margin=-1), "-1"),
        (lambda x, y: focal(x, y, gamma=-2), "-2"),
        (lambda x, y: logit_adjustment(x, y, COUNTS, tau=math.nan), "nan"),
        (lambda x, y: cross_entropy(x[0], y), r"\[4\]"),
        (lambda x, y: class_balanced(x, y, COUNTS, beta=1), "beta=1"),
    ],
)
def test_bad_input_is_named(call: Callable[[Tensor, Tensor], Tensor], shown: str) -> None:
    with pytest.raises(ValueError, match=shown):
        call(*batch())
