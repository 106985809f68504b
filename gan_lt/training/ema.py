"""Running average of the generator's weights (Karras et al., ICLR 2018; half-life and ramp-up as in NeurIPS 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def ema_decay(batch: int, kimg: float, images_seen: int, rampup: float | None) -> float:
    """The decay for one step of `batch` images: half-life `kimg`, at most `rampup` times the images seen so far."""
    half_life = kimg * 1000
    if rampup is not None:
        half_life = min(half_life, images_seen * rampup)
    return float(0.5 ** (batch / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * network, for parameters and batch norm's statistics.

    Other buffers are copied: they are averages themselves, or no numbers to average. Batch norm's statistics belong to the
    weights before them, so they are averaged as these are.
    """
    targets, sources = list(average.parameters()), list(network.parameters())
    statistics = _norm_statistics(average)
    averaged = {id(buffer) for buffer in statistics}
    torch._foreach_lerp_([*targets, *statistics], [*sources, *_norm_statistics(network)], 1 - decay)
    for target, source in zip(average.buffers(), network.buffers(), strict=True):
        if id(target) not in averaged:
            target.copy_(source)


def _norm_statistics(network: nn.Module) -> list[Tensor]:
    return [
        buffer
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]
