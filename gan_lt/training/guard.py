"""Optimizer steps whose gradients are not finite are skipped and counted; a run of them ends the training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# a single overflow is an accident, which the next batch mends; this many in a row are not
LIMIT = 20


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """All that an optimizer moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _extremes(gradients: list[Tensor]) -> Tensor:
    """Finite where all of every gradient is: the largest magnitude of each, or its smallest and largest value."""
    if gradients[0].is_cuda:
        return torch.stack(torch._foreach_norm(gradients, float("inf")))
    # on CPUs the norm is not vectorised and takes 20 times as long as these two
    return torch.stack([torch.stack(gradient.aminmax()) for gradient in gradients])


class StepGuard:
    """Steps an optimizer unless a gradient is infinite or not a number; nothing waits for the device.

    Attributes:
        skipped: steps skipped since the last `take`, by network.
        in_a_row: steps skipped last, without one made in between, by network.
    """

    def __init__(self) -> None:
        self.skipped: dict[str, Tensor] = {}
        self.in_a_row: dict[str, Tensor] = {}

    def step(self, network: str, optimizer: torch.optim.Optimizer) -> None:
        """`optimizer.step()`, which leaves weights and moments as they are if a gradient is not finite.

        optimizer: a fused one: those read `found_inf` on the device.
        """
        gradients = [p.grad for p in parameters_of(optimizer) if p.grad is not None]
        bad = (~torch.isfinite(_extremes(gradients)).all()).float()
        optimizer.found_inf = bad  # type: ignore[attr-defined]
        optimizer.step()
        zero = torch.zeros_like(bad)
        self.skipped[network] = self.skipped.get(network, zero) + bad
        self.in_a_row[network] = (self.in_a_row.get(network, zero) + bad) * bad

    def take(self) -> dict[str, float]:
        """Steps skipped since the last call, by network, of those that skipped any; and starts to count anew."""
        counts = {network: float(count) for network, count in self.skipped.items()}
        self.skipped.clear()
        return {network: count for network, count in counts.items() if count}

    def longest(self) -> int:
        """How many of the last steps were skipped in a row."""
        return max((int(count) for count in self.in_a_row.values()), default=0)
