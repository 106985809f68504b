"""The running average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_lt.training.ema import ema_decay, update_ema


def test_half_life() -> None:
    # after `kimg` thousand images half of the old weights are left
    steps = 10_000 // 32
    assert ema_decay(32, 10, 10**9, None) ** (10_000 / 32) == pytest.approx(0.5)
    assert ema_decay(32, 10, 10**9, 0.05) ** steps == pytest.approx(0.5, rel=1e-2)


def test_ramp_up() -> None:
    assert ema_decay(64, 500, 10_000, 0.05) == pytest.approx(0.5 ** (64 / 500))
    assert ema_decay(64, 500, 10_000_000, 0.05) == pytest.approx(0.5 ** (64 / 500_000))
    assert ema_decay(64, 10, 0, 0.05) == 0.0  # nothing seen yet: the average is the network
    decays = [ema_decay(64, 20, n, 0.05) for n in range(64, 10**6, 6400)]
    assert decays == sorted(decays)


def test_update() -> None:
    torch.manual_seed(0)
    average, network = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    network.weight.data.normal_()
    network.running_mean.normal_()  # type: ignore[union-attr]
    before = average.weight.detach().clone()
    update_ema(average, network, 0.75)
    torch.testing.assert_close(average.weight.detach(), 0.75 * before + 0.25 * network.weight.detach())
    # the statistics belong to the averaged weights, and follow them; they started at 0
    torch.testing.assert_close(average.running_mean, 0.25 * network.running_mean)  # type: ignore[operator]


def test_other_buffers_are_copied() -> None:
    average, network = nn.Linear(2, 2), nn.Linear(2, 2)
    for module, value in [(average, 0.0), (network, 8.0)]:
        module.register_buffer("running", torch.full([3], value))
    update_ema(average, network, 0.75)
    assert torch.equal(average.running, torch.full([3], 8.0))  # type: ignore[arg-type]
