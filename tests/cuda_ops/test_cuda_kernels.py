"""The CUDA kernels without a GPU: their source run on the host, the plans around it, and what nvcc says of them."""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuda_ops import build, use_backend
from cuda_ops.activation_table import ACTIVATIONS
from cuda_ops.cuda_kernels import Kernels
from cuda_ops.cuda_plan import MAX_GRID_Y, THREADS, epilogue_plan, upfirdn2d_plan
from cuda_ops.derivatives import bias_act_second
from cuda_ops.reference import bias_act_reference, modulated_epilogue_reference, upfirdn2d_reference

HERE = Path(__file__).parent
CUDA = build.SOURCES / "cuda"


class Emulated:
    """Launches the kernels' source compiled for the host: every thread a fiber, on tensors in ordinary memory."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._find = [library.gan_lt_upfirdn2d_kernel, library.gan_lt_epilogue_kernel]
        for function in self._find:
            function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
        self._emulate = library.emulate
        self.launched: set[str] = set()

    def launch(self, kernel, grid, block, shared, arguments, device) -> None:
        address = next((a for a in (find(kernel.encode()) for find in self._find) if a), None)
        assert address, f"the table has no {kernel}"
        assert shared <= 48 * 1024
        assert grid[1] <= MAX_GRID_Y
        assert block[0] * block[1] <= THREADS
        self.launched.add(kernel)
        self._emulate(
            ctypes.c_void_p(address),
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 2)(*block),
            ctypes.byref(arguments),
            int(kernel.startswith("upfirdn2d")),
        )


@pytest.fixture(scope="module")
def launcher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("emulation")
    try:
        compiler = build.find_compiler()
    except build.BuildError as error:
        pytest.skip(str(error))
    flags = [compiler, "-std=c++17", "-O1", "-fPIC", "-w"]
    sources = [CUDA / "upfirdn2d.cu", CUDA / "epilogue.cu", HERE / "cuda_on_host.cpp"]
    objects = [folder / f"{path.stem}.o" for path in sources]
    build.run_commands(
        [
            [
                *flags,
                "-include",
                str(HERE / "cuda_on_host.h"),
                "-x",
                "c++",
                "-c",
                str(source),
                "-o",
                str(target),
            ]
            for source, target in zip(sources, objects, strict=True)
        ]
    )
    build.run_commands([[compiler, "-shared", *map(str, objects), "-o", str(folder / "emulation.so")]])
    return Emulated(ctypes.CDLL(str(folder / "emulation.so")))


TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def assert_near(actual, expected, dtype):
    error = (
        float((actual.detach().double() - expected.detach().double()).abs().max()) if actual.numel() else 0.0
    )
    largest = float(expected.detach().abs().max()) if expected.numel() else 0.0
    assert actual.shape == expected.shape
    assert error <= TOLERANCE[dtype] * (largest + 0.1)


def epilogue_gradient(dy, x, demod, noise, strength, bias, scale_):
    """Gradients of the float64 reference wrt x, demod, strength and bias, None for those not given."""
    act, alpha, gain, limit = scale_
    name = list(ACTIVATIONS)[act]
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in (x, demod, strength, bias)]
    x, demod, strength, bias = leaves
    y = modulated_epilogue_reference(
        x, demod, noise, strength, bias, name, alpha, gain, None if limit == math.inf else limit
    )
    present = [t for t in leaves if t is not None]
    grads = iter(torch.autograd.grad(y, present, dy))
    return [None if t is None else next(grads) for t in leaves]


def draw_image(draw, generator, channels):
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    shape = (
        draw(st.integers(1, 2)),
        draw(st.sampled_from(channels)),
        draw(st.integers(1, 13)),
        draw(st.integers(1, 13)),
    )
    x = torch.randn(shape, generator=generator).to(dtype)
    return x.to(memory_format=torch.channels_last) if draw(st.booleans()) else x


@EXAMPLES
@given(data=st.data())
def test_upfirdn2d(launcher, data):
    draw = data.draw
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    x = draw_image(draw, generator, (1, 3, 4, 8, 12))
    up, down = draw(st.sampled_from([((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 2)), ((2, 1), (3, 2))]))
    padding = tuple(draw(st.integers(0, 7)) for _ in range(4))
    size = draw(st.integers(1, 4))
    f = {
        "square": torch.randn(size, size, generator=generator),
        "oblong": torch.randn(2, 3, generator=generator),
        "separable": torch.randn(draw(st.sampled_from([1, 4, 7])), generator=generator),
    }[draw(st.sampled_from(["square", "square", "oblong", "separable"]))]
    h, w = x.shape[2] * up[1] + padding[2] + padding[3], x.shape[3] * up[0] + padding[0] + padding[1]
    if w < f.shape[-1] or h < f.shape[0]:
        padding = tuple(p + 4 for p in padding)
    if draw(st.booleans()) and min(x.shape[2], x.shape[3]) > 8:
        padding = (-1, padding[1], padding[2], -2)
    flip = draw(st.booleans())
    expected = upfirdn2d_reference(x.double(), f, up, down, padding, flip, 1.7)
    actual = Kernels(launcher).upfirdn2d(x, f, *up, *down, *padding, flip, 1.7)
    assert_near(actual, expected, x.dtype)
    if not x.is_contiguous():
        assert actual.is_contiguous(memory_format=torch.channels_last)


def scale(draw, dtype):
    exact = dtype in (torch.float32, torch.float64)
    return (
        0.3,
        draw(st.sampled_from([1.4, 0.7])),
        draw(st.sampled_from([math.inf, 1.0])) if exact else math.inf,
    )


@EXAMPLES
@given(data=st.data())
def test_bias_act_and_its_derivatives(launcher, data):
    draw = data.draw
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    x, dim = draw_image(draw, generator, (1, 3, 8, 40, 300)), 1
    if draw(st.booleans()):
        x, dim = x.flatten(1).contiguous(), draw(st.sampled_from([0, 1]))
    name = draw(st.sampled_from(list(ACTIVATIONS)))
    act = ACTIVATIONS[name].index
    alpha, gain, limit = scale(draw, x.dtype)
    b = torch.randn(x.shape[dim], generator=generator) if draw(st.booleans()) else None
    clamp = None if limit == math.inf else limit
    kernels = Kernels(launcher)
    expected = bias_act_reference(
        x.double(), None if b is None else b.double(), dim, name, alpha, gain, clamp
    )
    y = kernels.bias_act(x, b, dim, act, alpha, gain, limit)
    assert_near(y, expected, x.dtype)

    dy, ddx = (torch.randn(x.shape, generator=generator).to(x.dtype) for _ in range(2))
    ddb = None if b is None else torch.randn(b.shape, generator=generator)
    wide = [None if t is None else t.double() for t in (dy, x, b, None, ddx, ddb)]
    first = epilogue_gradient(
        wide[0], wide[1], None, None, None, wide[2] if dim == 1 else None, (act, alpha, gain, limit)
    )
    dx, db = kernels.bias_act_grad(dy, x, b, None, dim, act, alpha, gain, limit, False)
    if dim == 1 and x.ndim == 4:
        assert_near(dx, first[0], x.dtype)
        if b is not None:
            assert_near(db, first[3], x.dtype)
        if act <= 2 and x.dtype in (torch.float32, torch.float64):
            from_output, db_from_output = kernels.bias_act_grad(
                dy, y, b, None, dim, act, alpha, gain, limit, True
            )
            assert_near(from_output, first[0], x.dtype)
            assert_near(db_from_output, db, x.dtype)
    if act > 2:
        d_dy, d_x = kernels.bias_act_grad2(dy, ddx, x, b, ddb, dim, act, alpha, gain, limit)
        second = bias_act_second(dim, (act, alpha, gain, limit), *wide)
        assert_near(d_dy, second[0], x.dtype)
        assert_near(d_x, second[1], x.dtype)


@EXAMPLES
@given(data=st.data())
def test_modulated_epilogue_and_its_gradient(launcher, data):
    draw = data.draw
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    x = draw_image(draw, generator, (1, 3, 8, 40))
    n, c, h, w = x.shape
    name = draw(st.sampled_from(["lrelu", *ACTIVATIONS]))
    settings_ = (ACTIVATIONS[name].index, *scale(draw, x.dtype))
    demod = torch.rand(n, c, generator=generator) + 0.5 if draw(st.booleans()) else None
    noise = torch.randn(draw(st.sampled_from([(n, 1, h, w), (1, 1, h, w), (h, w)])), generator=generator)
    noise, strength = (noise, torch.tensor(0.6)) if draw(st.booleans()) else (None, None)
    bias = torch.randn(c, generator=generator) if draw(st.booleans()) else None
    dy = torch.randn(x.shape, generator=generator).to(x.dtype)
    wide = [None if t is None else t.double() for t in (dy, x, demod, noise, strength, bias)]
    kernels = Kernels(launcher)
    clamp = None if settings_[3] == math.inf else settings_[3]
    expected = modulated_epilogue_reference(*wide[1:], name, settings_[1], settings_[2], clamp)
    assert_near(kernels.modulated_epilogue(x, demod, noise, strength, bias, *settings_), expected, x.dtype)
    actual = kernels.modulated_epilogue_grad(dy, x, demod, noise, strength, bias, *settings_)
    first = epilogue_gradient(*wide, settings_)
    for left, right in zip(actual, first, strict=True):
        if right is not None:
            assert_near(left, right.reshape(left.shape), x.dtype)


def test_unaligned_tensors_take_the_narrow_kernels(launcher):
    x = torch.randn(2 * 8 * 5 * 5 + 1)[1:].view(2, 5, 5, 8).permute(0, 3, 1, 2)
    assert x.data_ptr() % 16
    launcher.launched.clear()
    y = Kernels(launcher).bias_act(x, torch.zeros(8), 1, 0, 0.0, 2.0, math.inf)
    assert launcher.launched == {"epilogue_forward<float, 1, false, false>"}
    torch.testing.assert_close(y, x * 2)


@given(
    st.integers(1, 300),
    st.integers(1, 3000),
    st.integers(1, 2**21),
    st.booleans(),
    st.sampled_from([1, 4, 8]),
)
def test_epilogue_plans_cover_everything_once(samples, channels, pixels, channels_last, width):
    channels, pixels = (channels * width, pixels) if channels_last else (channels, pixels * width)
    (across, parts, deep), (columns, rows), _ = epilogue_plan(samples, channels, pixels, channels_last, width)
    assert columns * rows == THREADS
    assert columns & (columns - 1) == 0
    assert 1 <= parts <= MAX_GRID_Y
    if channels_last:
        assert (across - 1) * columns * width < channels <= across * columns * width
        assert deep == samples
    else:
        assert (across - 1) * rows < samples * channels <= across * rows


def test_the_common_cases_have_specialised_kernels():
    def kernel(up, down, size, separable, k=64, dtype=torch.float32):
        return upfirdn2d_plan(dtype, 8, k, 4, (16, 16), (up, up), (down, down), (size, size), separable, 1)[0]

    assert kernel(1, 1, 4, False) == "upfirdn2d_rows<float, 4, 1, 1, 4, false, 4>"
    assert kernel(2, 1, 4, False) == "upfirdn2d_rows<float, 4, 2, 1, 4, false, 4>"
    assert kernel(1, 2, 12, True) == "upfirdn2d_rows<float, 4, 1, 2, 12, true, 4>"
    assert kernel(3, 1, 4, False) == "upfirdn2d_any<float, 4>"
    assert kernel(1, 1, 5, False) == "upfirdn2d_any<float, 4>"


def test_nvrtc_sources_stand_alone():
    for name in ("upfirdn2d", "epilogue"):
        source = build.cuda_source(name)
        assert '#include "' not in source
        assert source.count("struct BFloat16") == 1


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="nvcc is not on the path: the CUDA kernels are not compiled here"
)
@pytest.mark.parametrize("architecture", ["80", "90"])
@pytest.mark.parametrize("source", build.CUDA_SOURCES)
def test_nvcc_compiles_without_warnings_spills_or_stacks(tmp_path, source, architecture):
    command = build.cuda_compile_command(
        build.find_nvcc(), CUDA / source, tmp_path / "kernels.o", [architecture]
    )
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output[-2000:]
    used = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", output)
    assert used or source == "launch.cu"
    assert all(numbers == ("0", "0", "0") for numbers in used)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible")
def test_a_cuda_graph_replays_the_kernels():
    from cuda_ops import bias_act, upfirdn2d

    x = torch.randn(2, 8, 16, 16, device="cuda")
    f = torch.ones(4, 4, device="cuda") / 16
    with use_backend("native"):
        expected = bias_act(upfirdn2d(x, f, padding=2), act="lrelu")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = bias_act(upfirdn2d(x, f, padding=2), act="lrelu")
        x.copy_(torch.randn_like(x))
        expected = bias_act(upfirdn2d(x, f, padding=2), act="lrelu")
        graph.replay()
    torch.testing.assert_close(y, expected)
