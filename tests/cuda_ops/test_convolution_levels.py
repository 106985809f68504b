"""conv3x3's loops at every instruction set that this CPU runs; a wheel holds them all, and uses one."""

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


def compiled(folder: Path, level: str) -> Path:
    sources = [build.SOURCES / "cpu" / name for name in ("winograd.cpp", "winograd_grad.cpp")]
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


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_the_loops(tmp_path, level):
    library = compiled(tmp_path, level)
    features = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    needed = {"x86-64-v3": ["avx2", "fma"], "x86-64-v4": ["avx512f", "avx512bw", "avx512dq", "avx512vl"]}
    if not all(f" {name} " in features for name in needed.get(level, [])):
        pytest.skip(f"compiles; this CPU can't run {level}")
    both = ctypes.CDLL(str(library)).both
    both.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 5
    both.restype = None
    generator = torch.Generator().manual_seed(0)
    for n, channels, out, height, width in ((2, 16, 16, 8, 8), (3, 21, 37, 9, 6), (1, 3, 5, 4, 17)):
        x = torch.randn(n, height, width, channels, generator=generator)
        weight = torch.randn(out, channels, 3, 3, generator=generator)
        y, d_weight = torch.empty(n, height, width, out), torch.empty_like(weight)
        both(*(t.data_ptr() for t in (x, weight, y, d_weight)), n, height, width, channels, out)
        double, leaf = x.permute(0, 3, 1, 2).double(), weight.double().requires_grad_()
        exact = F.conv2d(double, leaf, padding=1)
        (exact_grad,) = torch.autograd.grad(exact, leaf, exact.detach())
        for actual, expected in ((y.permute(0, 3, 1, 2), exact.detach()), (d_weight, exact_grad)):
            error = float((actual.double() - expected).abs().max())
            assert error < 2e-5 * float(expected.square().mean().sqrt())
