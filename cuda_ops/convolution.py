"""3x3 convolution with fewer multiplications, for CPUs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cuda_ops.backend import use_native
from cuda_ops.convolution_autograd import native_conv3x3

_FEWEST_CHANNELS = 8
"""Below that, transforming the tiles costs more than the multiplications that it saves (measured)."""

_FEWEST_TILES = 12
"""Below that, transforming the weights does (measured)."""


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """3x3 convolution with padding 1, as `torch.nn.functional.conv2d(x, weight, padding=1)`.

    float32 tensors in channels_last on a CPU go through Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, CVPR
    2016), with a quarter of the multiplications, in the gradients of every order too. The error is then about 1e-6 of the
    output's root mean square, instead of 2e-7, and values that are not finite reach their whole 4x4 tile of outputs.
    Everything else is given to PyTorch.

    Args:
        x: [N, I, H, W]. weight: [O, I, 3, 3], of the same dtype and device.

    Returns:
        [N, O, H, W], in channels_last where x is.

    Raises:
        ValueError: other shapes.
    """
    if x.ndim != 4 or weight.ndim != 4 or weight.shape[2:] != (3, 3) or x.shape[1] != weight.shape[1]:
        raise ValueError(
            f"conv3x3 takes x [N, I, H, W] and weight [O, I, 3, 3], got {list(x.shape)} and {list(weight.shape)}"
        )
    # The device first: on others, and when a graph is exported by the reference, sizes must not become conditions.
    if x.device.type == "cpu" and use_native(x.device) and _suits(x, weight):
        return native_conv3x3(x, weight, False)  # type: ignore[no-any-return]
    return F.conv2d(x, weight, padding=1)


def _suits(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device == weight.device
        and min(weight.shape[:2]) >= _FEWEST_CHANNELS
        and min(x.shape[2:]) > 2
        and x.shape[0] * -(-x.shape[2] // 4) * -(-x.shape[3] // 4) >= _FEWEST_TILES
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
    )


__all__ = ["conv3x3"]
