"""Derivatives of modulated_epilogue: a kernel for the first, operators composed for the second."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from cuda_ops import ops
from cuda_ops.activation_table import PIECEWISE_LINEAR
from cuda_ops.derivatives import Gradients, Settings, epilogue_second


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
        dx, d_demod, d_strength, d_bias = call(dy, x, demod, noise, strength, bias, *ctx.settings)  # type: ignore[no-untyped-call]
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
        second = epilogue_second if torch.is_grad_enabled() else _epilogue_second
        return *second(ctx.settings, saved, tangents), *[None] * 4


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


native_modulated_epilogue = ops.differentiable("modulated_epilogue", ModulatedEpilogue)
ops.differentiable("modulated_epilogue_grad", ModulatedEpilogueGrad)
