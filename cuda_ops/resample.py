"""upfirdn2d and the three ways StyleGAN2 uses it: upsample, downsample, filter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from cuda_ops import ops
from cuda_ops.arguments import integers, real
from cuda_ops.autograd import native_upfirdn2d
from cuda_ops.backend import use_native
from cuda_ops.reference import upfirdn2d_reference

Pair = int | Sequence[int]


def setup_filter(
    taps: Sequence[float] | Sequence[Sequence[float]] | np.ndarray | Tensor | float | None,
    normalize: bool = True,
    flip: bool = False,
    gain: float = 1.0,
    separable: bool | None = None,
) -> Tensor:
    """Make a FIR filter for `upfirdn2d`.

    Args:
        taps: a number, [n] taps or [fh, fw] taps; None: the filter that changes nothing, as in `upfirdn2d`.
        normalize: divide by the sum, so that a constant image keeps its value.
        flip: reverse every axis.
        gain: overall gain of the two-dimensional filter.
        separable: keep [n] taps as a separable filter (None: when n >= 8); otherwise their outer product is made.

    Returns:
        float32 filter, [n] or [fh, fw].

    Raises:
        ValueError: no taps, more than two dimensions, taps or a gain that are no finite numbers, a zero sum with normalize,
            2-D with separable=True.

    >>> setup_filter([1, 3, 3, 1]).shape
    torch.Size([4, 4])
    """
    try:
        f = torch.as_tensor(1.0 if taps is None else taps)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"taps={taps!r} must be a number, [n] or [fh, fw] numbers") from error
    if f.is_complex():
        raise ValueError(f"taps={taps!r} must be real numbers")
    f = f.to(torch.float32, copy=True)
    gain = real(gain, "gain")
    if not math.isfinite(gain):
        raise ValueError(f"gain={gain} must be finite")
    if f.ndim == 0:
        f = f[None]
    if f.ndim > 2 or f.numel() == 0:
        raise ValueError(f"taps must be a number, [n] or [fh, fw] and not empty, got shape {list(f.shape)}")
    if not bool(torch.isfinite(f).all()):
        raise ValueError(f"taps must be finite, got {f.tolist()}")
    if separable is None:
        separable = f.ndim == 1 and f.numel() >= 8
    if separable and f.ndim == 2:
        raise ValueError(f"separable=True needs one-dimensional taps, got shape {list(f.shape)}")
    if f.ndim == 1 and not separable:
        f = torch.outer(f, f)
    if normalize:
        total = float(f.sum())
        if total == 0:
            raise ValueError(f"taps sum to {total}, so they can't be normalized; pass normalize=False")
        f = f / total
    if flip:
        f = f.flip(list(range(f.ndim)))
    return f * gain ** (f.ndim / 2)  # type: ignore[no-any-return]


def _factor(value: Pair, name: str) -> tuple[int, int]:
    pair = integers(value)
    if pair is None or len(pair) != (1 if isinstance(value, Integral) else 2) or min(pair) < 1:
        raise ValueError(f"{name}={value!r} must be an integer of at least 1 or a pair (x, y) of them")
    return pair[0], pair[-1]


def _padding(value: Pair) -> tuple[int, int, int, int]:
    sides = integers(value)
    if sides is None or len(sides) not in ((1,) if isinstance(value, Integral) else (2, 4)):
        raise ValueError(f"padding={value!r} must be an integer, (x, y) or (x0, x1, y0, y1)")
    if len(sides) < 4:
        x, y = sides[0], sides[-1]
        return x, x, y, y
    return sides[0], sides[1], sides[2], sides[3]


def _filter_size(f: Tensor | None) -> tuple[int, int]:
    """(width, height); checks the filter."""
    if f is None:
        return 1, 1
    if not isinstance(f, Tensor) or f.ndim not in (1, 2) or f.numel() == 0:
        shape = list(f.shape) if isinstance(f, Tensor) else type(f).__name__
        raise ValueError(f"f must be a tensor [n] or [fh, fw] (see setup_filter) or None, got {shape}")
    if f.is_complex():
        raise ValueError(f"f must be real, got {f.dtype} {list(f.shape)}")
    if f.requires_grad:
        raise ValueError("f requires grad, but filters are constants here; pass f.detach()")
    return f.shape[-1], f.shape[0]


def upfirdn2d(
    x: Tensor,
    f: Tensor | None,
    up: Pair = 1,
    down: Pair = 1,
    padding: Pair = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Upsample by zero insertion, pad or crop, filter, and downsample, channel by channel.

    Args:
        x: [N, C, H, W], floating point.
        f: filter [fh, fw], or [n] for a separable one, or None for the identity. See `setup_filter`.
        up: `up - 1` zeros are inserted after every pixel; an integer or (x, y).
        down: every `down`-th pixel is kept; an integer or (x, y).
        padding: zeros around the zero-inserted image: an integer, (x, y) or (x0, x1, y0, y1); negative crops.
        flip_filter: False convolves, True correlates.
        gain: output scale.

    Returns:
        [N, C, H', W'] with H' = floor((H * up + y0 + y1 - fh) / down) + 1, W' likewise, in x's dtype; accumulation is in
        float32 or better. Differentiable twice with respect to x.

    Raises:
        ValueError: x not 4-D floating point, factors under 1, bad padding, a filter larger than the padded image.

    Source: Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021, and CVPR 2020 for the use.

    >>> upfirdn2d(torch.ones(1, 1, 2, 2), None, up=2).shape
    torch.Size([1, 1, 4, 4])
    """
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        what = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must be a floating-point tensor [N, C, H, W], got {what}")
    factors_up, factors_down = _factor(up, "up"), _factor(down, "down")
    x0, x1, y0, y1 = _padding(padding)
    fw, fh = _filter_size(f)
    padded_w = x.shape[3] * factors_up[0] + x0 + x1
    padded_h = x.shape[2] * factors_up[1] + y0 + y1
    if padded_w < fw or padded_h < fh:
        raise ValueError(
            f"the padded image is {padded_h}x{padded_w}, smaller than the {fh}x{fw} filter "
            f"(x {list(x.shape)}, up={up}, padding={padding})"
        )
    gain = real(gain, "gain")
    if not math.isfinite(gain):
        raise ValueError(f"gain={gain} must be finite")
    if x.dtype in ops.DTYPES and use_native(x.device) and not _beyond_cuda(x, f):
        taps = _identity(x.device) if f is None else f
        if taps.device != x.device:
            taps = taps.to(x.device)
        return native_upfirdn2d(  # type: ignore[no-any-return]
            x, taps, *factors_up, *factors_down, x0, x1, y0, y1, bool(flip_filter), gain
        )
    return upfirdn2d_reference(x, f, factors_up, factors_down, (x0, x1, y0, y1), flip_filter, gain)


def _beyond_cuda(x: Tensor, f: Tensor | None) -> bool:
    """CUDA kernels hold taps in float32; with float64 taps and images the reference keeps every digit."""
    return x.is_cuda and f is not None and f.dtype == torch.float64 and x.dtype == torch.float64


@cache
def _identity(device: torch.device) -> Tensor:
    return torch.ones([1, 1], device=device)


def upsample2d(
    x: Tensor, f: Tensor | None, up: Pair = 2, padding: Pair = 0, flip_filter: bool = False, gain: float = 1.0
) -> Tensor:
    """Upsample so that the output is the input's size times `up` (plus `padding`), keeping the mean.

    Arguments, results and errors as in `upfirdn2d`; the padding is with respect to the output.
    """
    up_x, up_y = _factor(up, "up")
    x0, x1, y0, y1 = _padding(padding)
    fw, fh = _filter_size(f)
    sides = (
        x0 + (fw + up_x - 1) // 2,
        x1 + (fw - up_x) // 2,
        y0 + (fh + up_y - 1) // 2,
        y1 + (fh - up_y) // 2,
    )
    return upfirdn2d(
        x, f, up=up, padding=sides, flip_filter=flip_filter, gain=real(gain, "gain") * up_x * up_y
    )


def downsample2d(
    x: Tensor,
    f: Tensor | None,
    down: Pair = 2,
    padding: Pair = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Downsample so that the output is the input's size divided by `down` (plus `padding` before it).

    Arguments, results and errors as in `upfirdn2d`; the padding is with respect to the input.
    """
    down_x, down_y = _factor(down, "down")
    x0, x1, y0, y1 = _padding(padding)
    fw, fh = _filter_size(f)
    sides = (
        x0 + (fw - down_x + 1) // 2,
        x1 + (fw - down_x) // 2,
        y0 + (fh - down_y + 1) // 2,
        y1 + (fh - down_y) // 2,
    )
    return upfirdn2d(x, f, down=down, padding=sides, flip_filter=flip_filter, gain=gain)


def filter2d(
    x: Tensor, f: Tensor | None, padding: Pair = 0, flip_filter: bool = False, gain: float = 1.0
) -> Tensor:
    """Filter, keeping the size (plus `padding`). Arguments, results and errors as in `upfirdn2d`."""
    x0, x1, y0, y1 = _padding(padding)
    fw, fh = _filter_size(f)
    sides = (x0 + fw // 2, x1 + (fw - 1) // 2, y0 + fh // 2, y1 + (fh - 1) // 2)
    return upfirdn2d(x, f, padding=sides, flip_filter=flip_filter, gain=gain)
