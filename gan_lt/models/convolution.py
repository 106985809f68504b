"""A torch.nn.Conv2d whose 3x3 convolutions go through cuda_ops."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from cuda_ops import conv3x3, conv3x3_down


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1, with the parameters of `nn.Conv2d`.

    Args:
        in_channels, out_channels, bias: as there. stride: 1 or 2.

    Shapes: [N, in, H, W] -> [N, out, H, W], or with stride 2 half of H and W, rounded up.

    Raises:
        ValueError: another stride.
    """

    def __init__(
        self, in_channels: int, out_channels: int, bias: bool = True, stride: Literal[1, 2] = 1
    ) -> None:
        if stride not in (1, 2):
            raise ValueError(f"stride={stride} must be 1 or 2")
        super().__init__(in_channels, out_channels, 3, stride, padding=1, bias=bias)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.stride[0] == 1:
            return conv3x3(x, weight, bias)
        return conv3x3_down(x, weight, bias, padding=1)


__all__ = ["Conv3x3"]
