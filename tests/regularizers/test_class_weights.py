"""Effective numbers and the noise they spread, against exact arithmetic."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
import torch

from gan_lt.regularizers import class_noise_std, effective_number, inverse_effective_weights


def exact(n: int, beta: float) -> float:
    with localcontext() as context:
        context.prec = 60
        b = Decimal(beta)
        return float((1 - b**n) / (1 - b))


@pytest.mark.parametrize("beta", [0.0, 1e-12, 0.3, 0.5, 0.99, 0.999, 0.9999, 1 - 1e-7, 1 - 1e-12])
def test_effective_number(beta: float) -> None:
    counts = [1, 2, 7, 50, 1280, 5000, 1_281_167, 9_000_000]
    computed = effective_number(torch.tensor(counts), beta)
    assert computed.dtype == torch.float64
    expected = torch.tensor([exact(n, beta) for n in counts], dtype=torch.float64)
    torch.testing.assert_close(computed, expected, rtol=1e-12, atol=0)


def test_effective_number_at_its_limits() -> None:
    counts = torch.tensor([3, 70, 4000])
    assert effective_number(counts, 0.0).tolist() == [1.0, 1.0, 1.0]
    torch.testing.assert_close(effective_number(counts, 1 - 1e-15), counts.double(), rtol=1e-9, atol=0)
    for tiny in (1e-300, 5e-324, 1e-17):
        assert effective_number(counts, tiny).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("beta", [0.0, 0.99, 0.9999])
def test_noise_has_mean_sigma_and_goes_to_the_rare(beta: float) -> None:
    counts = torch.tensor([5000, 2997, 387, 50])
    s = class_noise_std(counts, 0.75, beta)
    torch.testing.assert_close(s.mean(), torch.tensor(0.75, dtype=torch.float64))
    inverse = torch.tensor([1 / exact(int(n), beta) for n in counts], dtype=torch.float64)
    torch.testing.assert_close(s, 0.75 * inverse * 4 / inverse.sum())
    assert bool((s.diff() >= 0).all())
    assert bool((s.diff() > 0).any()) == (beta > 0)


def test_noise_follows_a_permutation_of_the_classes() -> None:
    counts, order = torch.tensor([500, 20, 90, 3, 3]), torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(
        class_noise_std(counts[order], 0.5, 0.99), class_noise_std(counts, 0.5, 0.99)[order]
    )


def test_equal_classes_get_equal_shares() -> None:
    torch.testing.assert_close(
        class_noise_std([40] * 6, 0.3, 0.999), torch.full([6], 0.3, dtype=torch.float64)
    )
    torch.testing.assert_close(inverse_effective_weights([7], 0.9), torch.ones(1, dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (([5, 0], 0.9), r"\[1\]=0.0"),
        (([5, -3], 0.9), "-3"),
        (([float("nan")], 0.9), "nan"),
        (([], 0.9), r"\[0\]"),
        (([[1, 2]], 0.9), r"\[1, 2\]"),
        (([5], 1.0), "beta=1.0"),
        (([5], -0.1), "beta=-0.1"),
        (([5], float("nan")), "beta=nan"),
    ],
)
def test_bad_input_is_named(arguments: tuple[list[float], float], value: str) -> None:
    with pytest.raises(ValueError, match=value):
        effective_number(*arguments)
    with pytest.raises(ValueError, match=value):
        class_noise_std(arguments[0], 0.5, arguments[1])


@pytest.mark.parametrize("sigma", [-0.5, float("nan"), float("inf")])
def test_bad_sigma_is_named(sigma: float) -> None:
    with pytest.raises(ValueError, match=f"sigma={sigma}"):
        class_noise_std([5, 3], sigma, 0.9)
