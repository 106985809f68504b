"""Compiled CUDA kernels, by their C++ template expression, from one of two sources.

`Ahead` finds them in a library that nvcc built (cuda_ops/build.py); `RunTime` compiles them with NVRTC, which torch's CUDA
wheels bring, when they are first used. Both launch on the current stream of the given device and never wait for it, so that
CUDA graphs can hold the calls.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Protocol

import torch

from cuda_ops import build
from cuda_ops.cuda_plan import Block, Grid

_OUT_OF_MEMORY = 2  # both cudaErrorMemoryAllocation and CUDA_ERROR_OUT_OF_MEMORY


class UpfirdnArguments(ctypes.Structure):
    """struct UpfirdnCuda of csrc/cuda/arguments.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "y", "taps")),
        *((name, ctypes.c_longlong) for name in ("planes", "k")),
        *((name, ctypes.c_int) for name in ("in_h", "in_w", "out_h", "out_w")),
        *((name, ctypes.c_int) for name in ("up_x", "up_y", "down_x", "down_y", "pad_x", "pad_y")),
        *((name, ctypes.c_int) for name in ("fw", "fh", "separable", "flip")),
        ("gain", ctypes.c_double),
    )


class EpilogueArguments(ctypes.Structure):
    """struct EpilogueCuda of csrc/cuda/arguments.h."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "dy", "ddx", "y", "d_x")),
        *((name, ctypes.c_void_p) for name in ("demod", "noise", "strength", "bias", "tangent", "partial")),
        *((name, ctypes.c_longlong) for name in ("samples", "channels", "pixels")),
        *(
            (name, ctypes.c_int)
            for name in ("channels_last", "noise_per_sample", "act", "from_output", "parts")
        ),
        *((name, ctypes.c_double) for name in ("alpha", "gain", "limit")),
    )


class Launcher(Protocol):
    """A source of compiled kernels."""

    def launch(
        self,
        kernel: str,
        grid: Grid,
        block: Block,
        shared: int,
        arguments: ctypes.Structure,
        device: torch.device,
    ) -> None:
        """Queue a kernel, named by its template expression, with `shared` bytes of dynamic shared memory."""


class Ahead:
    """Kernels from a library that nvcc built."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        self._find = [library.gan_lt_upfirdn2d_kernel, library.gan_lt_epilogue_kernel]
        for function in self._find:
            function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
        self._launch = library.gan_lt_launch
        self._launch.restype = ctypes.c_int
        self._kernels: dict[str, int] = {}

    def launch(
        self,
        kernel: str,
        grid: Grid,
        block: Block,
        shared: int,
        arguments: ctypes.Structure,
        device: torch.device,
    ) -> None:
        address = self._kernels.get(kernel)
        if address is None:
            address = next((a for a in (find(kernel.encode()) for find in self._find) if a), None)
            if address is None:
                raise RuntimeError(
                    f"the CUDA library has no kernel {kernel}; build it again from these sources"
                )
            self._kernels[kernel] = address
        with torch.cuda.device(device):
            error = self._launch(
                ctypes.c_void_p(address),
                (ctypes.c_uint * 3)(*grid),
                (ctypes.c_uint * 2)(*block),
                ctypes.c_uint(shared),
                ctypes.byref(arguments),
                ctypes.c_void_p(torch.cuda.current_stream().cuda_stream),
            )
        _check(error, kernel, grid, block)


class RunTime:
    """Kernels that NVRTC compiles when they are first used, once a process and device."""

    def __init__(self) -> None:
        self._kernels: dict[tuple[str, torch.device], Any] = {}

    def launch(
        self,
        kernel: str,
        grid: Grid,
        block: Block,
        shared: int,
        arguments: ctypes.Structure,
        device: torch.device,
    ) -> None:
        from torch.cuda import _utils

        with torch.cuda.device(device):
            compiled = self._kernels.get((kernel, device))
            if compiled is None:
                source = build.cuda_source(kernel.partition("_")[0])
                compiled = self._kernels[kernel, device] = torch.cuda._compile_kernel(source, kernel)
            # Not by calling the compiled kernel: it has no way to pass a structure or a 64-bit integer.
            error = _utils._get_gpu_runtime_library().cuLaunchKernel(
                compiled.func,
                *(*grid, *block, 1, shared),
                ctypes.c_void_p(torch.cuda.current_stream().cuda_stream),
                (ctypes.c_void_p * 1)(ctypes.addressof(arguments)),
                None,
            )
        _check(error, kernel, grid, block)


def _check(error: int, kernel: str, grid: Grid, block: Block) -> None:
    if error == _OUT_OF_MEMORY:
        raise torch.OutOfMemoryError(f"CUDA out of memory on launching {kernel}")
    if error:
        raise RuntimeError(f"CUDA error {error} on launching {kernel} with grid {grid}, block {block}")
