"""The operators torch.ops.cuda_ops.*: schemas, fake kernels, autograd.

Kernels are registered elsewhere: csrc/cpu/register.cpp (compiled), cuda_ops/cuda_kernels.py (compiled at run time). Every
operator here takes validated arguments in their normal form; the public functions stand in cuda_ops.resample,
cuda_ops.activation, cuda_ops.epilogue, cuda_ops.convolution and cuda_ops.residual.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

NAMESPACE = "cuda_ops"
_ACT = "int act, float alpha, float gain, float limit"

# `limit` is infinity where nothing is clamped. Empty gradients stand for parameters that were not given.
SCHEMAS = {
    "upfirdn2d": (
        "(Tensor x, Tensor f, int up_x, int up_y, int down_x, int down_y, int pad_x0, int pad_x1, int pad_y0, int pad_y1, "
        "bool flip_filter, float gain) -> Tensor"
    ),
    "bias_act": f"(Tensor x, Tensor? b, int dim, {_ACT}) -> Tensor",
    "bias_act_grad": (
        f"(Tensor dy, Tensor x, Tensor? b, Tensor? tangent, int dim, {_ACT}, bool from_output) -> (Tensor dx, Tensor db)"
    ),
    "bias_act_grad2": (
        f"(Tensor dy, Tensor ddx, Tensor x, Tensor? b, Tensor? tangent, int dim, {_ACT}) -> (Tensor d_dy, Tensor d_x)"
    ),
    "modulated_epilogue": (
        f"(Tensor x, Tensor? demod, Tensor? noise, Tensor? strength, Tensor? bias, {_ACT}) -> Tensor"
    ),
    "modulated_epilogue_grad": (
        f"(Tensor dy, Tensor x, Tensor? demod, Tensor? noise, Tensor? strength, Tensor? bias, {_ACT}) "
        "-> (Tensor dx, Tensor d_demod, Tensor d_strength, Tensor d_bias)"
    ),
    # stride 1 and padding 1, or strided: 2 and none; transposed: the adjoint, from the weight's channels 0 to those of 1
    "conv3x3": "(Tensor x, Tensor weight, bool strided, bool transposed) -> Tensor",
    # stride 1: plus bias and shortcut, then 0 where mask <= 0, then ReLU; for functions with derivatives of their own
    "conv3x3_finished": (
        "(Tensor x, Tensor weight, bool transposed, Tensor? bias, Tensor? shortcut, Tensor? mask, bool relu) -> Tensor"
    ),
    "conv3x3_weight": "(Tensor x, Tensor dy, bool strided) -> Tensor",
}

library = torch.library.Library(NAMESPACE, "DEF")  # type: ignore[no-untyped-call]
for _name, _schema in SCHEMAS.items():
    library.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]

DTYPES = frozenset({torch.float64, torch.float32, torch.bfloat16, torch.float16})


# ---- fake kernels ----


def _memory_format(x: Tensor) -> torch.memory_format:
    if not x.is_contiguous() and x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def _like(x: Tensor, memory_format: torch.memory_format | None = None) -> Tensor:
    return torch.empty(
        x.shape, dtype=x.dtype, device=x.device, memory_format=memory_format or _memory_format(x)
    )


def _sums(x: Tensor, *shape: int) -> Tensor:
    return x.new_empty(shape, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)


def _bias_format(x: Tensor, b: Tensor | None, dim: int) -> torch.memory_format:
    return torch.contiguous_format if b is not None and dim != 1 else _memory_format(x)


@torch.library.register_fake(f"{NAMESPACE}::upfirdn2d", lib=library)  # type: ignore[untyped-decorator]
def _(
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
    n, c, h, w = x.shape
    out_h = (h * up_y + pad_y0 + pad_y1 - f.shape[0]) // down_y + 1
    out_w = (w * up_x + pad_x0 + pad_x1 - f.shape[-1]) // down_x + 1
    return torch.empty((n, c, out_h, out_w), dtype=x.dtype, device=x.device, memory_format=_memory_format(x))


@torch.library.register_fake(f"{NAMESPACE}::bias_act", lib=library)  # type: ignore[untyped-decorator]
def _(x: Tensor, b: Tensor | None, dim: int, *_: float) -> Tensor:
    return _like(x, _bias_format(x, b, dim))


@torch.library.register_fake(f"{NAMESPACE}::bias_act_grad", lib=library)  # type: ignore[untyped-decorator]
def _(
    dy: Tensor, x: Tensor, b: Tensor | None, tangent: Tensor | None, dim: int, *_: float
) -> tuple[Tensor, Tensor]:
    return _like(x, _bias_format(x, b, dim)), _sums(x, 0 if b is None else x.shape[dim])


@torch.library.register_fake(f"{NAMESPACE}::bias_act_grad2", lib=library)  # type: ignore[untyped-decorator]
def _(
    dy: Tensor, ddx: Tensor, x: Tensor, b: Tensor | None, tangent: Tensor | None, dim: int, *_: float
) -> tuple[Tensor, Tensor]:
    memory_format = _bias_format(x, b, dim)
    return _like(x, memory_format), _like(x, memory_format)


@torch.library.register_fake(f"{NAMESPACE}::modulated_epilogue", lib=library)  # type: ignore[untyped-decorator]
def _(
    x: Tensor,
    demod: Tensor | None,
    noise: Tensor | None,
    strength: Tensor | None,
    bias: Tensor | None,
    *_: float,
) -> Tensor:
    return _like(x)


@torch.library.register_fake(f"{NAMESPACE}::modulated_epilogue_grad", lib=library)  # type: ignore[untyped-decorator]
def _(
    dy: Tensor,
    x: Tensor,
    demod: Tensor | None,
    noise: Tensor | None,
    strength: Tensor | None,
    bias: Tensor | None,
    *_: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n, c = x.shape[:2]
    return (
        _like(x),
        _sums(x, 0 if demod is None else n, c),
        _sums(x, 0 if noise is None else 1),
        _sums(x, 0 if bias is None else c),
    )


@torch.library.register_fake(f"{NAMESPACE}::conv3x3", lib=library)  # type: ignore[untyped-decorator]
def _(x: Tensor, weight: Tensor, strided: bool, transposed: bool) -> Tensor:
    n, _, height, width = x.shape
    if strided and transposed:
        height, width = 2 * height + 1, 2 * width + 1
    elif strided:
        height, width = (height - 1) // 2, (width - 1) // 2
    shape = (n, weight.shape[1 if transposed else 0], height, width)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@torch.library.register_fake(f"{NAMESPACE}::conv3x3_finished", lib=library)  # type: ignore[untyped-decorator]
def _(x: Tensor, weight: Tensor, transposed: bool, *_: Tensor | bool | None) -> Tensor:
    shape = (x.shape[0], weight.shape[1 if transposed else 0], *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


@torch.library.register_fake(f"{NAMESPACE}::conv3x3_weight", lib=library)  # type: ignore[untyped-decorator]
def _(x: Tensor, dy: Tensor, strided: bool) -> Tensor:
    shape = (dy.shape[1], x.shape[1], 3, 3)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


# ---- calling ----


def run(name: str) -> Callable[..., Any]:
    """The operator without its autograd: in eager mode a call then costs no second trip through Python."""
    op = getattr(torch.ops.cuda_ops, name).default

    def call(*args: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return op(*args)

    call.__name__ = name
    return call


upfirdn2d = run("upfirdn2d")
bias_act = run("bias_act")
bias_act_grad = run("bias_act_grad")
bias_act_grad2 = run("bias_act_grad2")
modulated_epilogue = run("modulated_epilogue")
modulated_epilogue_grad = run("modulated_epilogue_grad")
conv3x3 = run("conv3x3")
conv3x3_finished = run("conv3x3_finished")
conv3x3_weight = run("conv3x3_weight")


def differentiable(name: str, function: type[Function]) -> Callable[..., Any]:
    """Give an operator its autograd; returns the cheapest way to call it.

    The operator itself gets `function` as its autograd kernel, for torch.compile (where it stays one opaque node of the
    graph) and for callers of torch.ops.cuda_ops. The returned function goes, in eager mode, straight to `function`, or to
    the kernel where no gradient is recorded.
    """
    below = run(name)
    operator = getattr(torch.ops.cuda_ops, name).default
    apply = function.apply

    def autograd_kernel(*args: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return apply(*args)  # type: ignore[no-untyped-call]
        return below(*args)

    library.impl(name, autograd_kernel, "Autograd")  # type: ignore[no-untyped-call]

    def call(*args: Any) -> Any:
        if torch.compiler.is_compiling():
            return operator(*args)
        return apply(*args) if torch.is_grad_enabled() else below(*args)  # type: ignore[no-untyped-call]

    return call
