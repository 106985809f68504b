"""Finding, building and loading the native kernels, once a process and device type."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from cuda_ops import build, build_cache

DEVICE_TYPES = ("cpu", "cuda")


@dataclass(frozen=True)
class Loaded:
    """What serves a device type: where its kernels came from, or why there are none."""

    source: str | None
    reason: str | None
    bfloat16_convolutions: bool = False


@cache
def load(device_type: str) -> Loaded:
    """Load the kernels of a device type: the library built ahead of time, else one built now. Never raises for a failed
    build: the reason is in the result."""
    if device_type == "cpu":
        return _load_cpu()
    if device_type == "cuda":
        return _load_cuda()
    return Loaded(None, f"there are none for {device_type}")


def _load_library(path: Path) -> None:
    torch.ops.load_library(path)  # type: ignore[no-untyped-call]


def _load_cpu() -> Loaded:
    try:
        path = build.ahead_library("cpu")
        source = f"built ahead of time: {path}"
        if not path.is_file():
            path = build_cache.cached_cpu_library()
            source = f"built for this CPU: {path}"
        _load_library(path)
        serves = ctypes.CDLL(str(path)).gan_lt_convolution_in_bfloat16
        serves.restype = ctypes.c_bool
        return Loaded(source, None, serves())
    except (build.BuildError, OSError) as error:
        return Loaded(None, str(error).partition("\n")[0])


def _load_cuda() -> Loaded:
    if torch.version.hip is not None:
        return Loaded(None, "the kernels are written for CUDA, and this torch is built for ROCm")
    if torch.version.cuda is None:
        return Loaded(None, f"torch {torch.__version__} is built without CUDA")
    if not torch.cuda.is_available():
        return Loaded(None, "no CUDA device is visible")
    from cuda_ops import ops
    from cuda_ops.cuda_kernels import Kernels
    from cuda_ops.cuda_launch import Ahead, Launcher, RunTime

    ahead = build.ahead_library("cuda")
    launcher: Launcher
    try:
        if ahead.is_file():
            launcher, source = Ahead(ahead), f"built ahead of time: {ahead}"
        else:
            launcher, source = RunTime(), "compiled by NVRTC at run time"
        kernels = Kernels(launcher)
        # One small call proves that the source works on this device before anything relies on it.
        kernels.bias_act(torch.zeros(1, 1, device="cuda"), None, 1, 0, 0.0, 1.0, math.inf)
        torch.cuda.synchronize()
    except (
        Exception
    ) as error:  # whatever fails in a driver or a compiler: the reference still runs, and says why
        return Loaded(None, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
    for name, function in kernels.operators().items():
        ops.library.impl(name, function, "CUDA")  # type: ignore[no-untyped-call]
    return Loaded(source, None)


# torch.compile asks while tracing; the answer never changes in a process, and a build must not be traced.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def unavailable(device_type: str) -> str | None:
    """Why there are no native kernels on a device type, or None if there are."""
    return load(device_type).reason


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def bfloat16_convolutions() -> bool:
    """Whether the CPU's conv3x3 is to take bfloat16: it has instructions that add products of pairs of them, and no matrix
    units, which PyTorch uses and which are faster still."""
    return load("cpu").bfloat16_convolutions and not torch.cpu._is_amx_tile_supported()


def details(device_type: str) -> dict[str, object]:
    """Where a device type's kernels came from."""
    return {"source": load(device_type).source}


def cost(device_type: str) -> str:
    """What running the reference instead costs, in words."""
    return (
        "several times slower and with more memory"
        if device_type == "cuda"
        else "about two to ten times slower"
    )


def toolchain() -> dict[str, object]:
    """Versions that decide which kernels can be had: torch, CUDA, the C++ compiler, nvcc."""
    try:
        compiler: str | None = build.compiler_version(build.find_compiler())
    except (build.BuildError, OSError):
        compiler = None
    return {
        "torch": torch.__version__,
        "cuda_version": torch.version.cuda,
        "compiler": compiler,
        "nvcc": build.nvcc_version(),
    }


__all__ = [
    "DEVICE_TYPES",
    "Loaded",
    "bfloat16_convolutions",
    "cost",
    "details",
    "load",
    "toolchain",
    "unavailable",
]
