"""The loops of 3x3 convolutions at every instruction set that this CPU runs; a wheel holds them all, and uses one."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cuda_ops import build

if platform.machine() != "x86_64":
    pytest.skip("the levels are those of x86-64", allow_module_level=True)
try:
    COMPILER = build.find_compiler()
except build.BuildError as error:
    pytest.skip(str(error), allow_module_level=True)


def compiled(folder: Path, level: str, flags: list[str]) -> Path:
    sources = [build.SOURCES / "cpu" / name for name in build.CPU_KERNELS if name.startswith("winograd")]
    sources.append(Path(__file__).with_name("convolution_on_host.cpp"))
    library = folder / f"{level}.so"
    command = [COMPILER, *build.CXX_FLAGS, *build.KERNEL_FLAGS, "-DGAN_LT_ISA=native", f"-march={level}"]
    command += [
        "-fvisibility=default",
        "-Werror",
        f"-I{build.SOURCES / 'cpu'}",
        "-shared",
        "-o",
        str(library),
    ]
    subprocess.run([*command, *map(str, sources)], check=True, timeout=120)
    return library


WIDE = [
    "-O1",
    "-DGAN_LT_LANES=16",
    "-DGAN_LT_ROWS=12",
    "-Wno-psabi",
]  # AVX-512's shapes in AVX2's instructions
NEON = ["-O1", "-DGAN_LT_LANES=4", "-DGAN_LT_ROWS=12"]


@pytest.mark.parametrize(
    ("level", "flags"),
    [("x86-64", []), ("x86-64-v3", []), ("x86-64-v4", []), ("x86-64-v3", WIDE), ("x86-64", NEON)],
    ids=["v1", "v3", "v4", "v4's shapes", "NEON's shapes"],
)
def test_the_loops(tmp_path, level, flags):
    library = compiled(tmp_path, level, flags)
    features = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    needed = {"x86-64-v3": ["avx2", "fma"], "x86-64-v4": ["avx512f", "avx512bw", "avx512dq", "avx512vl"]}
    if not all(f" {name} " in features for name in needed.get(level, [])):
        pytest.skip(f"compiles; this CPU can't run {level}")
    both, finished = (getattr(ctypes.CDLL(str(library)), name) for name in ("both", "finished"))
    both.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_bool] + [ctypes.c_int64] * 5
    finished.argtypes = [ctypes.c_void_p] * 6 + [ctypes.c_int64] * 5
    both.restype = finished.restype = None
    generator = torch.Generator().manual_seed(0)
    for n, channels, out, height, width in ((2, 16, 16, 8, 8), (3, 21, 37, 9, 6), (1, 3, 5, 4, 17)):
        for strided in (False, True):
            size = (2 * height + 1, 2 * width + 1) if strided else (height, width)
            x = torch.randn(n, *size, channels, generator=generator)
            weight = torch.randn(out, channels, 3, 3, generator=generator)
            y, d_x, d_weight = (
                torch.empty(n, height, width, out),
                torch.empty_like(x),
                torch.empty(out, 3, 3, channels),
            )
            pointers = (t.data_ptr() for t in (x, weight, y, d_x, d_weight))
            both(*pointers, strided, n, height, width, channels, out)
            leaves = x.permute(0, 3, 1, 2).double().requires_grad_(), weight.double().requires_grad_()
            exact = F.conv2d(*leaves, stride=2) if strided else F.conv2d(*leaves, padding=1)
            gradients = torch.autograd.grad(exact, leaves, exact.detach())
            actual = y.permute(0, 3, 1, 2), d_x.permute(0, 3, 1, 2), d_weight.permute(0, 3, 1, 2)
            for ours, theirs in zip(actual, (exact.detach(), *gradients), strict=True):
                error = float((ours.double() - theirs).abs().max())
                assert error < 5e-5 * float(theirs.square().mean().sqrt())
        y, shortcut, mask = torch.randn(3, n, height, width, out, generator=generator)
        bias = torch.randn(out, generator=generator)
        x = torch.randn(n, height, width, channels, generator=generator)
        pointers = (t.data_ptr() for t in (x, weight, bias, shortcut, mask, y))
        finished(*pointers, n, height, width, channels, out)
        plain = F.conv2d(x.permute(0, 3, 1, 2).double(), weight.double(), bias.double(), padding=1)
        exact = (plain.permute(0, 2, 3, 1) + shortcut).relu() * (mask > 0)
        assert float((y - exact).abs().max()) < 5e-5 * float(exact.square().mean().sqrt())
