"""The operators on CUDA: outputs, arguments and launches. The kernels stand in csrc/cuda/*.cuh."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cuda_ops.activation_table import PIECEWISE_LINEAR
from cuda_ops.cuda_launch import EpilogueArguments, Launcher, UpfirdnArguments
from cuda_ops.cuda_plan import THREADS, TYPE_NAMES, epilogue_plan, upfirdn2d_plan, vector_width


def _is_channels_last(x: Tensor) -> bool:
    """Whether a tensor is channels_last and not contiguous as well."""
    return not x.is_contiguous() and x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _in_format(x: Tensor, channels_last: bool) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _empty(shape: Sequence[int], x: Tensor, channels_last: bool) -> Tensor:
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=x.dtype, device=x.device, memory_format=memory_format)


def _aligned(*tensors: Tensor) -> bool:
    return all(t.data_ptr() % 16 == 0 for t in tensors)


def _accumulator(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


class Kernels:
    """The operators' CUDA implementations over one source of compiled kernels. Arguments as in cuda_ops/ops.py."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    def operators(self) -> dict[str, Callable[..., Any]]:
        """Every operator's implementation by name."""
        return {
            "upfirdn2d": self.upfirdn2d,
            "bias_act": self.bias_act,
            "bias_act_grad": self.bias_act_grad,
            "bias_act_grad2": self.bias_act_grad2,
            "modulated_epilogue": self.modulated_epilogue,
            "modulated_epilogue_grad": self.modulated_epilogue_grad,
        }

    def upfirdn2d(
        self,
        x: Tensor,
        f: Tensor,
        up_x: int,
        up_y: int,
        down_x: int,
        down_y: int,
        pad_x0: int,
        pad_x1: int,
        pad_y0: int,
        pad_y1: int,
        flip_filter: bool,
        gain: float,
    ) -> Tensor:
        channels_last = _is_channels_last(x)
        x = _in_format(x, channels_last)
        n, c, h, w = x.shape
        fh, fw = f.shape[0], f.shape[-1]
        out_h = (h * up_y + pad_y0 + pad_y1 - fh) // down_y + 1
        out_w = (w * up_x + pad_x0 + pad_x1 - fw) // down_x + 1
        y = _empty((n, c, out_h, out_w), x, channels_last)
        if y.numel() == 0:
            return y
        taps = f.to(torch.float32).contiguous()
        planes, k = (n, c) if channels_last else (n * c, 1)
        # float32 moves 16 bytes an access; 16-bit types 8, so that a thread's sums stay in registers.
        most_bytes = 16 if x.dtype == torch.float32 else 8
        width = vector_width(x.dtype, k, most_bytes) if _aligned(x, y) else 1
        factors = ((up_x, up_y), (down_x, down_y))
        kernel, grid = upfirdn2d_plan(
            x.dtype, planes, k, width, (out_w, out_h), *factors, (fw, fh), f.ndim == 1, pad_y0
        )
        arguments = UpfirdnArguments(
            *(x.data_ptr(), y.data_ptr(), taps.data_ptr(), planes, k, h, w, out_h, out_w),
            *(up_x, up_y, down_x, down_y, pad_x0, pad_y0, fw, fh, f.ndim == 1, flip_filter, gain),
        )
        self._launcher.launch(kernel, grid, (THREADS, 1), 0, arguments, x.device)
        return y

    def bias_act(
        self, x: Tensor, b: Tensor | None, dim: int, act: int, alpha: float, gain: float, limit: float
    ) -> Tensor:
        x, view = _bias_view(x, b, dim)
        y = _empty(x.shape, x, view.format_channels_last)
        call = _Call(x, view, act, alpha, gain, limit)
        call.set(bias=b)
        self._run("epilogue_forward", call, {"x": x, "y": y})
        return y

    def bias_act_grad(
        self,
        dy: Tensor,
        x: Tensor,
        b: Tensor | None,
        tangent: Tensor | None,
        dim: int,
        act: int,
        alpha: float,
        gain: float,
        limit: float,
        from_output: bool,
    ) -> tuple[Tensor, Tensor]:
        x, view = _bias_view(x, b, dim)
        dy = _in_format(dy, view.format_channels_last)
        dx = _empty(x.shape, x, view.format_channels_last)
        call = _Call(x, view, act, alpha, gain, limit)
        call.arguments.from_output = from_output
        call.set(bias=b, tangent=tangent)
        partial = self._run("epilogue_gradient", call, {"x": x, "dy": dy, "y": dx}, sums=b is not None)
        if b is None or partial is None:
            return dx, x.new_zeros(0 if b is None else b.shape[0], dtype=_accumulator(x))
        return dx, partial[:, :, 0].sum([0, 1])

    def bias_act_grad2(
        self,
        dy: Tensor,
        ddx: Tensor,
        x: Tensor,
        b: Tensor | None,
        tangent: Tensor | None,
        dim: int,
        act: int,
        alpha: float,
        gain: float,
        limit: float,
    ) -> tuple[Tensor, Tensor]:
        x, view = _bias_view(x, b, dim)
        dy, ddx = (_in_format(t, view.format_channels_last) for t in (dy, ddx))
        d_dy, d_x = (_empty(x.shape, x, view.format_channels_last) for _ in range(2))
        call = _Call(x, view, act, alpha, gain, limit)
        call.set(bias=b, tangent=tangent)
        self._run("epilogue_second", call, {"x": x, "dy": dy, "ddx": ddx, "y": d_dy, "d_x": d_x})
        return d_dy, d_x

    def modulated_epilogue(
        self,
        x: Tensor,
        demod: Tensor | None,
        noise: Tensor | None,
        strength: Tensor | None,
        bias: Tensor | None,
        act: int,
        alpha: float,
        gain: float,
        limit: float,
    ) -> Tensor:
        x, view = _image_view(x)
        y = _empty(x.shape, x, view.format_channels_last)
        call = _Call(x, view, act, alpha, gain, limit)
        call.set(demod=demod, noise=noise, strength=strength, bias=bias)
        self._run("epilogue_forward", call, {"x": x, "y": y})
        return y

    def modulated_epilogue_grad(
        self,
        dy: Tensor,
        x: Tensor,
        demod: Tensor | None,
        noise: Tensor | None,
        strength: Tensor | None,
        bias: Tensor | None,
        act: int,
        alpha: float,
        gain: float,
        limit: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, view = _image_view(x)
        dy = _in_format(dy, view.format_channels_last)
        dx = _empty(x.shape, x, view.format_channels_last)
        call = _Call(x, view, act, alpha, gain, limit)
        call.set(demod=demod, noise=noise, strength=strength, bias=bias)
        partial = self._run("epilogue_gradient", call, {"x": x, "dy": dy, "y": dx}, sums=True)
        n, c = x.shape[:2]
        if partial is None:
            partial = x.new_zeros((n, 1, 3, c), dtype=_accumulator(x))
        empty = partial.new_empty
        return (
            dx,
            empty(0, c) if demod is None else partial[:, :, 1].sum(1),
            empty(0) if noise is None else partial[:, :, 2].sum().reshape(1),
            empty(0) if bias is None else partial[:, :, 0].sum([0, 1]),
        )

    def _run(self, kernel: str, call: _Call, tensors: dict[str, Tensor], sums: bool = False) -> Tensor | None:
        """Launch an epilogue kernel on dense tensors of one shape; the partial sums [samples, parts, 3, channels], if any."""
        x, view, arguments = tensors["x"], call.view, call.arguments
        if x.numel() == 0:
            return None
        run = view.channels if view.channels_last else view.pixels
        width = vector_width(x.dtype, run) if _aligned(*tensors.values()) else 1
        grid, block, parts = epilogue_plan(
            view.samples, view.channels, view.pixels, view.channels_last, width
        )
        for name, tensor in tensors.items():
            setattr(arguments, name, tensor.data_ptr())
        arguments.parts = parts
        partial, shared = None, 0
        if sums:
            dtype = _accumulator(x)
            partial = torch.empty((view.samples, parts, 3, view.channels), dtype=dtype, device=x.device)
            arguments.partial = partial.data_ptr()
            shared = THREADS * dtype.itemsize * (width if view.channels_last else 1)
        smooth = str(arguments.act not in PIECEWISE_LINEAR).lower()
        if kernel == "epilogue_second":
            template = f"{TYPE_NAMES[x.dtype]}, {width}"
        else:
            template = f"{TYPE_NAMES[x.dtype]}, {width}, {smooth}, {str(call.modulated).lower()}"
        self._launcher.launch(f"{kernel}<{template}>", grid, block, shared, arguments, x.device)
        return partial


@dataclass(frozen=True)
class _View:
    """A dense tensor as [samples, pixels, channels] where channels_last, else [samples, channels, pixels]."""

    samples: int
    channels: int
    pixels: int
    channels_last: bool
    format_channels_last: bool  # the memory format of the tensor itself


def _image_view(x: Tensor) -> tuple[Tensor, _View]:
    channels_last = _is_channels_last(x)
    n, c, h, w = x.shape
    return _in_format(x, channels_last), _View(n, c, h * w, channels_last, channels_last)


def _bias_view(x: Tensor, b: Tensor | None, dim: int) -> tuple[Tensor, _View]:
    channels_last = _is_channels_last(x) and (b is None or dim == 1)
    x = _in_format(x, channels_last)
    if b is None:
        return x, _View(1, 1, x.numel(), False, channels_last)
    channels = x.shape[dim]
    if channels_last:
        return x, _View(1, channels, x.numel() // max(channels, 1), True, True)
    samples, pixels = math.prod(x.shape[:dim]), math.prod(x.shape[dim + 1 :])
    if pixels == 1:
        return x, _View(1, channels, samples, True, False)
    return x, _View(samples, channels, pixels, False, False)


class _Call:
    """An epilogue's arguments, and the parameters they point to, kept until the kernel is queued."""

    def __init__(self, x: Tensor, view: _View, act: int, alpha: float, gain: float, limit: float) -> None:
        self.view = view
        self.modulated = False
        self._dtype = _accumulator(x)
        self._kept: list[Tensor] = []
        self.arguments = EpilogueArguments(
            samples=view.samples,
            channels=view.channels,
            pixels=view.pixels,
            channels_last=view.channels_last,
            act=act,
            alpha=alpha,
            gain=gain,
            limit=limit,
        )

    def set(self, **parameters: Tensor | None) -> None:
        """Point the arguments to parameters, as contiguous values of the accumulator's type."""
        for name, parameter in parameters.items():
            if parameter is None:
                continue
            parameter = parameter.detach().to(self._dtype).contiguous()
            self._kept.append(parameter)
            setattr(self.arguments, name, parameter.data_ptr())
            self.modulated |= name in {"demod", "noise"}
            if name == "noise":
                self.arguments.noise_per_sample = (
                    parameter.ndim == 4 and parameter.shape[0] == self.view.samples
                )
