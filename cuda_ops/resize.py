"""Resizing of 8-bit planes by given filter rows, into memory that is used again."""

from __future__ import annotations

import torch
from torch import Tensor

from cuda_ops import ops
from cuda_ops.backend import use_native

ops.library.define(  # type: ignore[no-untyped-call]
    "resize_planes(Tensor planes, Tensor weights, Tensor starts, float highest, Tensor(a!) out) -> ()"
)


def resize_planes(planes: Tensor, weights: Tensor, starts: Tensor, highest: float, out: Tensor) -> None:
    """Resize square planes along both axes: out[p, i, j] = sum_st weights[i, s] weights[j, t] planes[p, s', t'],
    clipped to [0, highest], with s' = starts[i] + s and t' = starts[j] + t.

    Args:
        planes: uint8 [P, side, side], contiguous, on the CPU.
        weights: float32 [size, taps]; starts: int64 [size], each from 0 to side - taps.
        highest: upper end of the values that come out.
        out: float32 [P, size, size], contiguous; written to.

    Raises:
        ValueError: another dtype, shape, layout or device, or a filter row that leaves the plane.
    """
    size, taps = (*weights.shape, 0, 0)[:2]
    shapes = [
        ("planes", planes, torch.uint8, (len(planes), *planes.shape[-1:] * 2)),
        ("weights", weights, torch.float32, (size, taps)),
        ("starts", starts, torch.int64, (size,)),
        ("out", out, torch.float32, (len(planes), size, size)),
    ]
    for name, tensor, dtype, shape in shapes:
        if tensor.dtype != dtype or tuple(tensor.shape) != shape or not tensor.is_contiguous():
            raise ValueError(
                f"{name} is {tensor.dtype} {list(tensor.shape)}; it must be {dtype}, contiguous, {list(shape)}"
            )
        if tensor.device.type != "cpu":
            raise ValueError(f"{name} is on {tensor.device}; resize_planes works on the CPU")
    side = planes.shape[-1]
    if taps < 1 or size < 1 or int(starts.min()) < 0 or int(starts.max()) + taps > side:
        raise ValueError(f"starts {starts.tolist()} with {taps} taps leave planes of {side} pixels")
    if use_native(planes.device):
        torch.ops.cuda_ops.resize_planes(planes, weights, starts, highest, out)
        return
    matrix = torch.zeros(size, side)
    matrix.scatter_(1, starts[:, None] + torch.arange(taps), weights)
    for start in range(0, len(planes), 24):  # so that what stands between the products stays in the cache
        part = slice(start, start + 24)
        torch.matmul(matrix @ planes[part].float(), matrix.T, out=out[part])
    out.clamp_(0, highest)


__all__ = ["resize_planes"]
