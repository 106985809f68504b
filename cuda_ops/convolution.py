"""3x3 convolutions with fewer multiplications, for CPUs.

float32 tensors in channels_last on a CPU go through Winograd's minimal filtering (Lavin and Gray, CVPR 2016), in the gradients
of every order too. The error is then 1e-6 to 2e-6 of the output's root mean square instead of 2e-7, and values that are not
finite reach tiles of outputs (4x4, or up to 9x9 by conv3x3_up), not the pixels around them alone. So do bfloat16 tensors where
the CPU has instructions for their products (AVX-512 BF16) and no matrix units: transforms and sums are float32; what is
multiplied, and what tiles of conv3x3_up share, is rounded to bfloat16. The error is then 1.2e-2 (with stride 2 0.9e-2) instead
of 1.7e-3. Everything else is given to PyTorch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cuda_ops import library
from cuda_ops.backend import use_native
from cuda_ops.convolution_autograd import native_conv3x3

_FEWEST_CHANNELS = 8
"""Below that, transforming the tiles costs more than the multiplications that it saves (measured)."""


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """3x3 convolution with padding 1, as `F.conv2d(x, weight, bias, padding=1)`; a quarter of the multiplications.

    Args:
        x: [N, I, H, W]. weight: [O, I, 3, 3]. bias: [O] or None. All of the same dtype and device.

    Returns:
        [N, O, H, W], in channels_last where x is.

    Raises:
        ValueError: other shapes.
    """
    _check("conv3x3", "[O, I, 3, 3]", x, weight, 1, bias)
    if serves(x, weight):
        return _plus(native_conv3x3(x, weight, False, False), bias)
    return F.conv2d(x, weight, bias, padding=1)


def conv3x3_down(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 0) -> Tensor:
    """3x3 convolution with stride 2, as `F.conv2d(x, weight, bias, 2, padding)`; 9/16 of the multiplications.

    Args:
        x: [N, I, 2H + 1, 2W + 1]; without padding, other sizes are PyTorch's. weight: [O, I, 3, 3]. bias: [O] or None.
            All of the same dtype and device. padding: 0, or 1 for x of any size.

    Returns:
        [N, O, H, W], or with padding half of x's height and width, rounded up; in channels_last where x is.

    Raises:
        ValueError: other shapes, another padding.
    """
    _check("conv3x3_down", "[O, I, 3, 3]", x, weight, 1, bias)
    if padding not in (0, 1):
        raise ValueError(f"conv3x3_down: padding={padding} must be 0 or 1")
    height, width = ((n + 2 * padding - 1) // 2 for n in x.shape[2:])
    if (
        _native(x)
        and (padding or (x.shape[2] % 2 and x.shape[3] % 2))
        and _suits(x, weight, height, width, _strided(weight))
    ):
        if padding:  # as much as the outputs read
            x = F.pad(x, [1, 2 * width - x.shape[3], 1, 2 * height - x.shape[2]])
        return _plus(native_conv3x3(x, weight, True, False), bias)
    return F.conv2d(x, weight, bias, stride=2, padding=padding)


def conv3x3_up(x: Tensor, weight: Tensor) -> Tensor:
    """Transposed 3x3 convolution with stride 2 and no padding, as `F.conv_transpose2d(x, weight, stride=2)`; 9/16 of the
    multiplications.

    Args:
        x: [N, I, H, W]. weight: [I, O, 3, 3], of the same dtype and device.

    Returns:
        [N, O, 2H + 1, 2W + 1], in channels_last where x is.

    Raises:
        ValueError: other shapes.
    """
    _check("conv3x3_up", "[I, O, 3, 3]", x, weight, 0)
    if _native(x) and _suits(x, weight, x.shape[2], x.shape[3], _strided(weight)):
        return native_conv3x3(x, weight, True, True)  # type: ignore[no-any-return]
    return F.conv_transpose2d(x, weight, stride=2)


def serves(x: Tensor, weight: Tensor) -> bool:
    """Whether conv3x3 goes to the kernels with x [N, I, H, W] and weight [O, I, 3, 3]."""
    return _native(x) and _suits(x, weight, x.shape[2], x.shape[3], fewest_tiles=12)


def _plus(y: Tensor, bias: Tensor | None) -> Tensor:
    return y if bias is None else y + bias[:, None, None]


def _check(name: str, form: str, x: Tensor, weight: Tensor, dim: int, bias: Tensor | None = None) -> None:
    if x.ndim != 4 or weight.ndim != 4 or weight.shape[2:] != (3, 3) or x.shape[1] != weight.shape[dim]:
        raise ValueError(
            f"{name} takes x [N, I, H, W] and weight {form}, got {list(x.shape)} and {list(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"{name} takes a bias [{weight.shape[0]}] with this weight, got {list(bias.shape)}")


def _native(x: Tensor) -> bool:
    # Before any size is looked at: elsewhere, and when a graph is exported by the reference, sizes are no conditions.
    return x.device.type == "cpu" and use_native(x.device)


def _strided(weight: Tensor) -> int:
    """The fewest tiles for which transforming the weights pays with stride 2 (measured)."""
    return 32 if max(weight.shape[:2]) <= 128 else 64


def _suits(x: Tensor, weight: Tensor, height: int, width: int, fewest_tiles: int) -> bool:
    """Whether the kernels serve a call and are faster; height and width are those of the 4x4 tiles."""
    return (
        x.dtype == weight.dtype
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and library.bfloat16_convolutions()))
        and x.device == weight.device
        and min(weight.shape[:2]) >= _FEWEST_CHANNELS
        and min(height, width) > 2
        and x.shape[0] * -(-height // 4) * -(-width // 4) >= fewest_tiles
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
    )


__all__ = ["conv3x3", "conv3x3_down", "conv3x3_up"]
