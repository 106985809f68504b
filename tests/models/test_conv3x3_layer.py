"""Conv3x3 beside the nn.Conv2d that it stands for."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from gan_lt.models.convolution import Conv3x3


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_is_a_convolution_also_under_autocast(
    layout: torch.memory_format, bias: bool, stride: Literal[1, 2]
) -> None:
    torch.manual_seed(0)
    ours, theirs = Conv3x3(16, 24, bias, stride), nn.Conv2d(16, 24, 3, stride, padding=1, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(40, 16, 12, 12).contiguous(memory_format=layout)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=2e-5)
    gradients = (torch.autograd.grad(conv(x).square().sum(), [*conv.parameters()]) for conv in (ours, theirs))
    for actual, expected in zip(*gradients, strict=True):
        assert float((actual - expected).norm()) < 1e-5 * float(expected.norm())
    with torch.autocast("cpu", torch.bfloat16):
        assert ours(x).dtype == theirs(x).dtype == torch.bfloat16


def test_other_strides_are_refused() -> None:
    with pytest.raises(ValueError, match="stride=3 must be 1 or 2"):
        Conv3x3(16, 24, stride=3)  # type: ignore[arg-type]
