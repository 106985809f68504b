"""Arguments of a wrong type, or tensors that hold no numbers, get a ValueError that shows them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gan_lt.regularizers import (
    ClassStatistics,
    class_balance_loss,
    class_noise_std,
    effective_number,
    group_spectral_loss,
    lecam_loss,
    noisy_twins_loss,
    spectral_norms,
)

W = torch.arange(12.0).reshape(4, 3)
P = torch.full([2, 4], 0.25)


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda: effective_number([5, 3], "a"), "beta='a'"),  # type: ignore[arg-type]
        (lambda: effective_number([5, 3], None), "beta=None"),  # type: ignore[arg-type]
        (lambda: effective_number("abc", 0.9), "'abc'"),  # type: ignore[arg-type]
        (lambda: effective_number(None, 0.9), "None"),  # type: ignore[arg-type]
        (lambda: effective_number(7, 0.9), "got 7"),  # type: ignore[arg-type]
        (lambda: class_noise_std([5, 3], "a", 0.9), "sigma='a'"),  # type: ignore[arg-type]
        (lambda: noisy_twins_loss(W.long(), W.long()), "int64"),
        (lambda: noisy_twins_loss(W.numpy(), W), "w_a"),  # type: ignore[arg-type]
        (lambda: noisy_twins_loss(W, None), "None"),  # type: ignore[arg-type]
        (lambda: noisy_twins_loss(W[:, :0], W[:, :0]), "[4, 0]"),
        (lambda: noisy_twins_loss(W.double(), W), "w_a is torch.float64 and w_b is torch.float32"),
        (lambda: noisy_twins_loss(W.half(), W.double()), "w_a is torch.float16 and w_b is torch.float64"),
        (lambda: noisy_twins_loss(W, W, "x"), "off_diagonal_weight='x'"),  # type: ignore[arg-type]
        (lambda: spectral_norms(W, power_iterations=1.5), "power_iterations=1.5"),  # type: ignore[arg-type]
        (lambda: spectral_norms(W, power_iterations=True), "power_iterations=True"),
        (lambda: spectral_norms(W.long()), "int64"),
        (lambda: spectral_norms(W.numpy()), "params"),  # type: ignore[arg-type]
        (lambda: spectral_norms(torch.where(W == 5, torch.nan, W)), "params[1] holds nan"),
        (
            lambda: spectral_norms(torch.where(W == 9, torch.inf, W), power_iterations=2),
            "params[3] holds inf",
        ),
        (lambda: group_spectral_loss([None], [1, 2, 3, 4]), "None"),  # type: ignore[list-item]
        (lambda: class_balance_loss(P.numpy(), [1] * 4), "probs"),  # type: ignore[arg-type]
        (lambda: class_balance_loss(P, "abcd"), "'abcd'"),  # type: ignore[arg-type]
        (lambda: ClassStatistics(1.5, 0.5), "num_classes=1.5"),  # type: ignore[arg-type]
        (lambda: ClassStatistics("a", 0.5), "num_classes='a'"),  # type: ignore[arg-type]
        (lambda: ClassStatistics(3, "a"), "decay='a'"),  # type: ignore[arg-type]
        (lambda: lecam_loss(W[0].long(), W[1], 0.0, 0.0), "int64"),
        (lambda: lecam_loss(W[0], W[1].numpy(), 0.0, 0.0), "fake_logits"),  # type: ignore[arg-type]
        (lambda: lecam_loss(W[0], W[1], "a", 0.0), "real_ema='a'"),  # type: ignore[arg-type]
        (lambda: lecam_loss(W[0], W[1], 0.0, float("nan")), "fake_ema=nan"),
        (lambda: lecam_loss(W[0], W[1], torch.zeros(3), 0.0), "[3]"),
    ],
)
def test_what_is_no_argument_is_named(call: Callable[[], Any], shown: str) -> None:
    with pytest.raises(ValueError) as error:
        call()
    assert shown in str(error.value)


@pytest.mark.parametrize("power_iterations", [None, 200])
def test_half_precision_parameters_have_the_norms_of_their_values(power_iterations: int | None) -> None:
    params = torch.randn(3, 12, generator=torch.Generator().manual_seed(0)).bfloat16()
    expected = [np.linalg.svd(row.reshape(3, 4).double().numpy(), compute_uv=False)[0] for row in params]
    assert spectral_norms(params, power_iterations).tolist() == pytest.approx(expected, rel=1e-3)
