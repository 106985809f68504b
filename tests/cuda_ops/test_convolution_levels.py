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
    subprocess.run([*command, *flags, *map(str, sources)], check=True, timeout=240)
    return library


WIDE = [
    "-O1",
    "-DGAN_LT_LANES=16",
    "-DGAN_LT_ROWS=12",
    "-Wno-psabi",
]  # AVX-512's shapes in AVX2's instructions
NEON = ["-O1", "-DGAN_LT_LANES=4", "-DGAN_LT_ROWS=12"]
PAIRS = ["-O1", "-DGAN_LT_BFLOAT16"]  # products of bfloat16 in instructions that every such CPU has
LEVELS = {
    "v1": ("x86-64", []),
    "v3": ("x86-64-v3", []),
    "v4": ("x86-64-v4", []),
    "v4's shapes": ("x86-64-v3", WIDE),
    "NEON's shapes": ("x86-64", NEON),
    "v4 and bfloat16": ("x86-64-v4", ["-mavx512bf16"]),
    "bfloat16 without instructions for it": ("x86-64-v3", PAIRS),
    "v4's shapes, the same": ("x86-64-v3", [*WIDE, "-DGAN_LT_BFLOAT16"]),
}
NEEDED = {
    "x86-64-v3": ["avx2", "fma"],
    "x86-64-v4": ["avx512f", "avx512bw", "avx512dq", "avx512vl"],
    "-mavx512bf16": ["avx512_bf16"],
}


@pytest.mark.parametrize("name", list(LEVELS))
def test_the_loops(tmp_path, name):
    level, flags = LEVELS[name]
    library = compiled(tmp_path, level, flags)
    features = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    if not all(f" {feature} " in features for key in (level, *flags) for feature in NEEDED.get(key, [])):
        pytest.skip(f"compiles; this CPU can't run {' '.join([level, *flags])}")
    loaded = ctypes.CDLL(str(library))
    loaded.both.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_bool] * 2 + [ctypes.c_int64] * 5
    loaded.finished.argtypes = [ctypes.c_void_p] * 6 + [ctypes.c_bool] + [ctypes.c_int64] * 5
    loaded.both.restype = loaded.finished.restype = None
    loaded.in_bfloat16.restype = ctypes.c_bool
    assert loaded.in_bfloat16() == ("bfloat16" in name or "same" in name)
    check(loaded, torch.float32, 1e-5, 5e-5)
    if loaded.in_bfloat16():
        check(loaded, torch.bfloat16, 0.02, 0.2)


def check(loaded, dtype, mean, largest):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    def assert_near(actual, exact):
        error, size = (actual.double() - exact).abs(), float(exact.square().mean().sqrt())
        assert float(error.max()) < largest * size
        assert float(error.square().mean().sqrt()) < mean * size

    bfloat16 = dtype == torch.bfloat16
    for n, channels, out, height, width in ((2, 16, 16, 8, 8), (3, 21, 37, 9, 6), (1, 3, 5, 4, 17)):
        for strided in (False, True):
            size = (2 * height + 1, 2 * width + 1) if strided else (height, width)
            x, weight = random(n, *size, channels), random(out, channels, 3, 3)
            y, d_x, d_weight = (
                torch.empty(n, height, width, out, dtype=dtype),
                torch.empty_like(x),
                torch.empty(out, 3, 3, channels, dtype=dtype),
            )
            pointers = (t.data_ptr() for t in (x, weight, y, d_x, d_weight))
            loaded.both(*pointers, bfloat16, strided, n, height, width, channels, out)
            leaves = x.permute(0, 3, 1, 2).double().requires_grad_(), weight.double().requires_grad_()
            exact = F.conv2d(*leaves, stride=2) if strided else F.conv2d(*leaves, padding=1)
            assert_near(y.permute(0, 3, 1, 2), exact.detach())
            # the gradients for the y that came out, so that their errors are their own
            gradients = torch.autograd.grad(exact, leaves, y.permute(0, 3, 1, 2).double())
            for ours, theirs in zip((d_x, d_weight), gradients, strict=True):
                assert_near(ours.permute(0, 3, 1, 2), theirs)
        y, shortcut, mask = random(3, n, height, width, out)
        bias = torch.randn(out, generator=generator)
        x = random(n, height, width, channels)
        pointers = (t.data_ptr() for t in (x, weight, bias, shortcut, mask, y))
        loaded.finished(*pointers, bfloat16, n, height, width, channels, out)
        plain = F.conv2d(x.permute(0, 3, 1, 2).double(), weight.double(), bias.double(), padding=1)
        assert_near(y, (plain.permute(0, 2, 3, 1) + shortcut.double()).relu() * (mask > 0))
