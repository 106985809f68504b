"""Batch normalisation whose gain and bias depend on the class (Dumoulin et al., ICLR 2017; Miyato & Koyama, ICLR 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        self.norm = nn.BatchNorm2d(features, affine=not conditional)
        self.gain = nn.Parameter(torch.ones(num_classes, features)) if conditional else None
        self.bias = nn.Parameter(torch.zeros(num_classes, features)) if conditional else None

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        normalized: Tensor = self.norm(x)
        if self.gain is None or self.bias is None or y is None:
            return normalized
        gain, bias = F.embedding(y, self.gain), F.embedding(y, self.bias)
        return torch.addcmul(bias[:, :, None, None], normalized, gain[:, :, None, None])
