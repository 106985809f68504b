"""Batch normalisation whose gain and bias depend on the class (Dumoulin et al., ICLR 2017; Miyato & Koyama, ICLR 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_lt.processes import mean_over_processes, world_size


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics in training are those of the batch of all processes."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            normalized: Tensor = super().forward(input)
            return normalized
        x = input.float()
        moments = torch.stack([x.mean(dim=[0, 2, 3]), x.square().mean(dim=[0, 2, 3])])
        mean, square = mean_over_processes(moments)
        variance = (square - mean.square()).clamp(min=0)
        self._follow(mean.detach(), variance.detach(), x[:, 0].numel() * world_size())
        gain = (variance + self.eps).rsqrt()
        gain, bias = (gain, 0 - mean * gain) if not self.affine else self._affine(gain, mean)
        return torch.addcmul(bias[:, None, None], x, gain[:, None, None]).to(input.dtype)

    def _affine(self, gain: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        gain = gain * self.weight
        return gain, self.bias - mean * gain

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        momentum = 0.0 if self.momentum is None else self.momentum
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)


class ConditionalBatchNorm(nn.Module):
    """gain_y * (x - mean) / std + bias_y, mean and std over the batch; plain batch norm without classes.

    Args:
        features: channels.
        num_classes: 0 for one gain and bias for all.

    Attributes:
        gain, bias: [K, features], start at 1 and 0; None without classes.

    Shapes: x [N, features, H, W], y int64 [N] -> the same as x.
    """

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        conditional = num_classes > 0
        self.norm = BatchNorm(features, affine=not conditional)
        self.gain = nn.Parameter(torch.ones(num_classes, features)) if conditional else None
        self.bias = nn.Parameter(torch.zeros(num_classes, features)) if conditional else None

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        normalized: Tensor = self.norm(x)
        if self.gain is None or self.bias is None or y is None:
            return normalized
        gain, bias = F.embedding(y, self.gain), F.embedding(y, self.bias)
        return torch.addcmul(bias[:, :, None, None], normalized, gain[:, :, None, None])
