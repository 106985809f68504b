"""Pure-PyTorch upfirdn2d and bias_act: the definition every kernel is tested against.

Differentiable any number of times because they are made of differentiable torch operations. The arguments
are already validated and in their normal form (see `cuda_ops.resample` and `cuda_ops.activation`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cuda_ops.activation_table import ACTIVATIONS


def upfirdn2d_reference(
    x: Tensor,
    f: Tensor | None,
    up: tuple[int, int],
    down: tuple[int, int],
    padding: tuple[int, int, int, int],
    flip_filter: bool,
    gain: float,
) -> Tensor:
    """Zero-insert, pad or crop, filter, decimate.

    Args:
        x: [N, C, H, W], floating point.
        f: [fh, fw], [n] (separable, applied along both axes) or None (identity), float32.
        up, down: factors (x, y), each at least 1.
        padding: (x0, x1, y0, y1) with respect to the zero-inserted image; negative values crop.
        flip_filter: False is convolution, True is correlation.
        gain: scales the output.
    """
    n, c, h, w = x.shape
    up_x, up_y = up
    down_x, down_y = down
    x0, x1, y0, y1 = padding
    if up != (1, 1):
        x = x.reshape(n, c, h, 1, w, 1)
        x = F.pad(x, [0, up_x - 1, 0, 0, 0, up_y - 1])
        x = x.reshape(n, c, h * up_y, w * up_x)
    x = F.pad(x, [max(x0, 0), max(x1, 0), max(y0, 0), max(y1, 0)])
    x = x[:, :, max(-y0, 0) : x.shape[2] - max(-y1, 0), max(-x0, 0) : x.shape[3] - max(-x1, 0)]
    if f is None:
        return x[:, :, ::down_y, ::down_x] * gain
    accumulate = torch.float64 if x.dtype == torch.float64 else torch.float32
    f = f.to(device=x.device, dtype=accumulate)
    if not flip_filter:
        f = f.flip(list(range(f.ndim)))
    dtype = x.dtype
    flat = x.reshape(n * c, 1, *x.shape[2:]).to(accumulate)
    if f.ndim == 2:
        flat = F.conv2d(flat, (f * gain)[None, None], stride=(down_y, down_x))
    else:
        flat = F.conv2d(flat, (f * gain)[None, None, None, :], stride=(1, down_x))
        flat = F.conv2d(flat, f[None, None, :, None], stride=(down_y, 1))
    return flat.reshape(n, c, *flat.shape[2:]).to(dtype)


def bias_act_reference(
    x: Tensor, b: Tensor | None, dim: int, act: str, alpha: float, gain: float, clamp: float | None
) -> Tensor:
    """clamp(gain * act(x + b)), computed in float32 or better and returned in x's dtype."""
    dtype = x.dtype
    accumulate = torch.float64 if dtype == torch.float64 else torch.float32
    x = x.to(accumulate)
    if b is not None:
        x = x + b.to(accumulate).reshape([-1 if i == dim else 1 for i in range(x.ndim)])
    x = ACTIVATIONS[act].function(x, alpha)
    if gain != 1:
        x = x * gain
    if clamp is not None:
        x = x.clamp(-clamp, clamp)
    return x.to(dtype)


def modulated_epilogue_reference(
    x: Tensor,
    demod: Tensor | None,
    noise: Tensor | None,
    strength: Tensor | None,
    bias: Tensor | None,
    act: str,
    alpha: float,
    gain: float,
    clamp: float | None,
) -> Tensor:
    """clamp(gain * act(x * demod + noise * strength + bias)), computed in float32 or better, in x's dtype."""
    accumulate = torch.float64 if x.dtype == torch.float64 else torch.float32
    z = x.to(accumulate)
    if demod is not None:
        z = z * demod.to(accumulate)[:, :, None, None]
    if noise is not None and strength is not None:
        z = z + (noise.to(accumulate) * strength.to(accumulate).reshape(())).reshape(-1, 1, *x.shape[2:])
    return bias_act_reference(z, bias, 1, act, alpha, gain, clamp).to(x.dtype)
