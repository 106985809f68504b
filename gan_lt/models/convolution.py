"""A torch.nn.Conv2d whose 3x3 convolutions go through cuda_ops."""

from __future__ import annotations

from torch import Tensor, nn

from cuda_ops import conv3x3


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1 and stride 1, with the parameters of `nn.Conv2d`.

    Args:
        in_channels, out_channels, bias: as there.

    Shapes: [N, in, H, W] -> [N, out, H, W].
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return conv3x3(x, weight, bias)


__all__ = ["Conv3x3"]
