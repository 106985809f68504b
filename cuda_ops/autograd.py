"""Derivatives of the operators, first and second, made of the same operators.

The gradient of upfirdn2d is upfirdn2d with `up` and `down` exchanged and the filter flipped, so it has derivatives of every
order. bias_act and modulated_epilogue have kernels for the first derivative and for the second of smooth activations;
where a derivative of the second is asked for as well (create_graph in a double backward), it comes from the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from cuda_ops import ops
from cuda_ops.activation_table import ACTIVATION_NAMES, PIECEWISE_LINEAR
from cuda_ops.reference import bias_act_reference, modulated_epilogue_reference


class Upfirdn2d(Function):
    """Arguments as of the operator; x alone gets a gradient."""

    @staticmethod
    def forward(
        ctx: Any,
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
        y = ops.upfirdn2d(x, f, up_x, up_y, down_x, down_y, pad_x0, pad_x1, pad_y0, pad_y1, flip_filter, gain)
        fh, fw = f.shape[0], f.shape[-1]
        ctx.save_for_backward(f)
        # Output o reads u = o * down - pad0 + t; the adjoint reads the same pairs the other way round.
        ctx.adjoint = (
            down_x,
            down_y,
            up_x,
            up_y,
            fw - pad_x0 - 1,
            x.shape[3] * up_x - y.shape[3] * down_x + pad_x0 - up_x + 1,
            fh - pad_y0 - 1,
            x.shape[2] * up_y - y.shape[2] * down_y + pad_y0 - up_y + 1,
            not flip_filter,
            gain,
        )
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (f,) = ctx.saved_tensors
        call = Upfirdn2d.apply if torch.is_grad_enabled() else ops.upfirdn2d
        return call(dy, f, *ctx.adjoint), *[None] * 11


Settings = tuple[int, float, float, float]  # act, alpha, gain, limit


def _reference_arguments(settings: Settings) -> tuple[str, float, float, float | None]:
    act, alpha, gain, limit = settings
    return ACTIVATION_NAMES[act], alpha, gain, None if limit == float("inf") else limit


def _sum_to_bias(x: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    others = [d for d in range(x.ndim) if d != dim]
    return x.sum(others, dtype=dtype) if others else x.to(dtype)  # an empty list would mean every dimension


class BiasAct(Function):
    """bias_act; keeps the output alone where the derivative can be told from it, else the input."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, b: Tensor | None, dim: int, act: int, alpha: float, gain: float, limit: float
    ) -> Tensor:
        y = ops.bias_act(x, b, dim, act, alpha, gain, limit)
        # The output's sign is that of z, and the next layer keeps the output anyway.
        ctx.from_output = act in PIECEWISE_LINEAR and gain > 0 and alpha >= 0
        ctx.save_for_backward(y if ctx.from_output else x, b)
        ctx.dim = dim
        ctx.settings = (act, alpha, gain, limit)
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        saved, b = ctx.saved_tensors
        call = BiasActGrad.apply if torch.is_grad_enabled() else ops.bias_act_grad
        dx, db = call(dy, saved, b, None, ctx.dim, *ctx.settings, ctx.from_output)
        return dx, None if b is None else db, None, None, None, None, None


class BiasActGrad(Function):
    """bias_act_grad, linear in (dy, tangent)."""

    @staticmethod
    def forward(
        ctx: Any,
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
        ctx.set_materialize_grads(False)
        dx, db = ops.bias_act_grad(dy, x, b, tangent, dim, act, alpha, gain, limit, from_output)
        ctx.save_for_backward(dy, x, b, tangent)
        ctx.dim, ctx.from_output = dim, from_output
        ctx.settings = (act, alpha, gain, limit)
        return dx, db

    @staticmethod
    def backward(ctx: Any, ddx: Tensor | None, ddb: Tensor | None) -> Any:
        dy, x, b, tangent = ctx.saved_tensors
        d_dy = d_x = d_b = None
        if ddx is None and ddb is None:
            return (None,) * 10
        if ddx is None:
            ddx = torch.zeros_like(dy)
        if b is None:
            ddb = None
        if ctx.settings[0] in PIECEWISE_LINEAR:
            call = BiasActGrad.apply if torch.is_grad_enabled() else ops.bias_act_grad
            d_dy, d_tangent = call(ddx, x, b, ddb, ctx.dim, *ctx.settings, ctx.from_output)
        elif torch.is_grad_enabled() or tangent is not None:
            d_dy, d_x, d_b, d_tangent = _bias_act_second(ctx.dim, ctx.settings, dy, x, b, tangent, ddx, ddb)
        else:
            d_dy, d_x = ops.bias_act_grad2(dy, ddx, x, b, ddb, ctx.dim, *ctx.settings)
            d_b = None if b is None else _sum_to_bias(d_x, ctx.dim, b.dtype)
            d_tangent = None
        return d_dy, d_x, d_b, d_tangent if tangent is not None else None, *[None] * 6


def _bias_act_second(
    dim: int,
    settings: Settings,
    dy: Tensor,
    x: Tensor,
    b: Tensor | None,
    tangent: Tensor | None,
    ddx: Tensor,
    ddb: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """The double backward by differentiating the reference, itself differentiable."""
    with torch.enable_grad():
        inputs = [
            t if t is None or t.requires_grad else t.detach().requires_grad_() for t in (dy, x, b, tangent)
        ]
        dy_in, x_in, b_in, tangent_in = inputs
        assert dy_in is not None and x_in is not None  # noqa: S101  for the type checker
        shape = [-1 if d == dim else 1 for d in range(x.ndim)]
        seed = dy_in if tangent_in is None else dy_in + tangent_in.to(dy.dtype).reshape(shape)
        y = bias_act_reference(x_in, b_in, dim, *_reference_arguments(settings))
        wanted = [t for t in (x_in, b_in) if t is not None]
        first = torch.autograd.grad(y, wanted, seed, create_graph=True)
        seeds = [ddx] if b is None else [ddx, torch.zeros_like(b) if ddb is None else ddb.to(b.dtype)]
        present = [t for t in inputs if t is not None]
        grads = iter(torch.autograd.grad(first, present, seeds, create_graph=True, allow_unused=True))
        return tuple(None if t is None else next(grads) for t in inputs)


class ModulatedEpilogue(Function):
    """modulated_epilogue; keeps its input, which the demodulation's gradient needs anyway."""

    @staticmethod
    def forward(
        ctx: Any,
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
        ctx.save_for_backward(x, demod, noise, strength, bias)
        ctx.settings = (act, alpha, gain, limit)
        return ops.modulated_epilogue(x, demod, noise, strength, bias, act, alpha, gain, limit)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, demod, noise, strength, bias = ctx.saved_tensors
        call = ModulatedEpilogueGrad.apply if torch.is_grad_enabled() else ops.modulated_epilogue_grad
        dx, d_demod, d_strength, d_bias = call(dy, x, demod, noise, strength, bias, *ctx.settings)
        return (
            dx,
            None if demod is None else d_demod,
            None,
            None if strength is None or noise is None else d_strength.reshape(strength.shape),
            None if bias is None else d_bias,
            *[None] * 4,
        )


class ModulatedEpilogueGrad(Function):
    """modulated_epilogue_grad, linear in dy."""

    @staticmethod
    def forward(
        ctx: Any,
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
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(dy, x, demod, noise, strength, bias)
        ctx.settings = (act, alpha, gain, limit)
        result: tuple[Tensor, Tensor, Tensor, Tensor] = ops.modulated_epilogue_grad(
            dy, x, demod, noise, strength, bias, act, alpha, gain, limit
        )
        return result

    @staticmethod
    def backward(
        ctx: Any, v_x: Tensor | None, v_demod: Tensor | None, v_strength: Tensor | None, v_bias: Tensor | None
    ) -> Any:
        saved = ctx.saved_tensors
        _, _, demod, noise, _, bias = saved
        tangents = (
            v_x,
            None if demod is None else v_demod,
            None if noise is None else v_strength,
            None if bias is None else v_bias,
        )
        if all(v is None for v in tangents):
            return (None,) * 10
        second = _epilogue_second_reference if torch.is_grad_enabled() else _epilogue_second
        return *second(ctx.settings, saved, tangents), *[None] * 4


Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, None, Tensor | None, Tensor | None]


def _epilogue_second(
    settings: Settings, saved: tuple[Tensor, ...], tangents: tuple[Tensor | None, ...]
) -> Gradients:
    """Gradients of <v, grad> wrt (dy, x, demod, noise, strength, bias), from the kernels.

    With z = x d + noise s + b, slope(z) and curvature(z) of the epilogue, and t = v_x d + v_d x + v_s noise + v_b:
    d_dy = t slope, and with c = t dy curvature: d_x = c d + v_d dy slope, d_d = sum(c x + v_x dy slope),
    d_s = sum(c noise), d_b = sum(c).
    """
    dy, x, demod, noise, strength, bias = saved
    v_x, v_demod, v_strength, v_bias = tangents
    if (
        x.dtype != torch.float64
    ):  # z is kept between the steps: rounding it to 16 bits would move it across kinks
        x, dy, v_x = x.float(), dy.float(), None if v_x is None else v_x.float()
    spread = (slice(None), slice(None), None, None)
    noise_map = None if noise is None else noise.reshape(-1, 1, *x.shape[2:])
    z = ops.modulated_epilogue(x, demod, noise, strength, bias, 0, 0.0, 1.0, float("inf"))
    t: Tensor | None = None
    if v_x is not None:
        t = v_x if demod is None else v_x * demod[spread]
    if v_demod is not None:
        t = x * v_demod[spread] if t is None else torch.addcmul(t, x, v_demod[spread].to(x.dtype))
    if v_strength is not None and noise_map is not None:
        part = noise_map * v_strength
        t = part if t is None else t + part
    if v_bias is not None:
        part = v_bias[None, :, None, None]
        t = part if t is None else t + part
    assert t is not None  # noqa: S101  for the type checker: the caller has checked that one tangent is given
    t = t.to(x.dtype).expand_as(x)
    d_x = d_demod = d_strength = d_bias = None
    accumulate = torch.float64 if x.dtype == torch.float64 else torch.float32
    if settings[0] in PIECEWISE_LINEAR:
        d_dy = ops.bias_act_grad(t, z, None, None, 1, *settings, False)[0]
    else:
        d_dy, curved = ops.bias_act_grad2(dy, t, z, None, None, 1, *settings)
        d_x = curved if demod is None else curved * demod[spread].to(x.dtype)
        if demod is not None:
            d_demod = (curved * x).sum([2, 3], dtype=accumulate)
        if strength is not None and noise_map is not None:
            d_strength = (curved * noise_map).sum(dtype=accumulate).reshape(strength.shape)
        if bias is not None:
            d_bias = curved.sum([0, 2, 3], dtype=accumulate)
    if demod is not None and (v_demod is not None or v_x is not None):
        dz = ops.bias_act_grad(dy, z, None, None, 1, *settings, False)[0]
        if v_demod is not None:
            part = dz * v_demod[spread].to(x.dtype)
            d_x = part if d_x is None else d_x + part
        if v_x is not None:
            part = (v_x * dz).sum([2, 3], dtype=accumulate)
            d_demod = part if d_demod is None else d_demod + part
    return d_dy, d_x, d_demod, None, d_strength, d_bias


def _epilogue_second_reference(
    settings: Settings, saved: tuple[Tensor, ...], tangents: tuple[Tensor | None, ...]
) -> Gradients:
    """The same by differentiating the reference, itself differentiable."""
    with torch.enable_grad():
        inputs = [t if t is None or t.requires_grad else t.detach().requires_grad_() for t in saved]
        dy, x, demod, noise, strength, bias = inputs
        y = modulated_epilogue_reference(x, demod, noise, strength, bias, *_reference_arguments(settings))  # type: ignore[arg-type]
        pairs = [
            (p, torch.zeros_like(p) if v is None else v.to(p.dtype).reshape(p.shape))
            for p, v in zip((x, demod, None if noise is None else strength, bias), tangents, strict=True)
            if p is not None
        ]
        first = torch.autograd.grad(y, [p for p, _ in pairs], dy, create_graph=True)
        wanted = [t for t in (dy, x, demod, strength, bias) if t is not None]
        grads = iter(
            torch.autograd.grad(first, wanted, [v for _, v in pairs], create_graph=True, allow_unused=True)
        )
        d_dy, d_x, d_demod, d_strength, d_bias = (
            None if t is None else next(grads) for t in (dy, x, demod, strength, bias)
        )
        return d_dy, d_x, d_demod, None, d_strength, d_bias


def native_operator(name: str, function: type[Function]) -> Callable[..., Tensor]:
    """The differentiable operator: in eager mode straight to its autograd, or to its kernel where no gradient is wanted;
    under torch.compile the operator itself, one opaque node of the graph."""
    below = getattr(ops, name)
    operator = getattr(torch.ops.cuda_ops, name).default
    apply = function.apply

    def call(*args: Any) -> Tensor:
        if torch.compiler.is_compiling():
            return operator(*args)  # type: ignore[no-any-return]
        return apply(*args) if torch.is_grad_enabled() else below(*args)

    return call


def _register(name: str, function: type[Function]) -> None:
    """Give the operator itself this autograd, for torch.compile and whoever calls torch.ops.cuda_ops directly."""
    below = getattr(ops, name)

    def autograd_kernel(*args: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return function.apply(*args)  # type: ignore[no-untyped-call]
        return below(*args)

    ops.library.impl(name, autograd_kernel, "Autograd")


_register("upfirdn2d", Upfirdn2d)
_register("bias_act", BiasAct)
_register("bias_act_grad", BiasActGrad)
_register("modulated_epilogue", ModulatedEpilogue)
_register("modulated_epilogue_grad", ModulatedEpilogueGrad)
