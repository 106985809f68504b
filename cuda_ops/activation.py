"""bias_act: add a bias, apply an activation, scale, clamp, in one pass over memory."""

from __future__ import annotations

import math
from numbers import Integral

from torch import Tensor

from cuda_ops import ops
from cuda_ops.activation_table import ACTIVATIONS
from cuda_ops.arguments import integers, real
from cuda_ops.autograd import native_bias_act
from cuda_ops.backend import use_native
from cuda_ops.reference import bias_act_reference


def activation_arguments(
    act: str, alpha: float | None, gain: float | None, clamp: float | None
) -> tuple[float, float]:
    """(alpha, gain) with the activation's defaults filled in.

    Raises:
        ValueError: unknown act, a negative or NaN clamp, alpha or gain not finite, anything but a number for them.
    """
    spec = ACTIVATIONS.get(act) if isinstance(act, str) else None
    if spec is None:
        raise ValueError(f"act={act!r} is not known; choose one of {', '.join(ACTIVATIONS)}")
    if clamp is not None and not real(clamp, "clamp") >= 0:
        raise ValueError(f"clamp={clamp} must be at least 0, or None for no clamping")
    alpha = spec.alpha if alpha is None else real(alpha, "alpha")
    gain = spec.gain if gain is None else real(gain, "gain")
    if not (math.isfinite(alpha) and math.isfinite(gain)):
        raise ValueError(f"alpha={alpha} and gain={gain} must be finite")
    return alpha, gain


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    dim: int = 1,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """clamp(gain * act(x + b, alpha), -clamp, clamp).

    Args:
        x: any shape, floating point.
        b: bias along `dim`, [x.shape[dim]], or None.
        dim: the dimension of x that the bias runs along.
        act: linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus or swish.
        alpha: slope of lrelu for negative inputs (default 0.2); the others take none.
        gain: output scale; None is StyleGAN2's default (sqrt 2 for relu, lrelu and swish, else 1).
        clamp: the output is limited to [-clamp, clamp]; None does not clamp.

    Returns:
        A tensor of x's shape and dtype. Float16 and bfloat16 are computed in float32. Differentiable twice.

    Raises:
        ValueError: unknown act, a bias of another shape than [x.shape[dim]], a negative clamp, anything but a number for
            alpha, gain or clamp.

    Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020.

    >>> bias_act(torch.tensor([[-1.0, 2.0]]), torch.tensor([0.0, 1.0]), act="relu", gain=1.0)
    tensor([[0., 3.]])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise ValueError(f"x must be a floating-point tensor, got {getattr(x, 'dtype', type(x).__name__)}")
    if b is not None:
        if not isinstance(b, Tensor):
            raise ValueError(f"b must be a tensor [n] or None, got {type(b).__name__}")
        if integers(dim) is None or not isinstance(dim, Integral):
            raise ValueError(f"dim={dim!r} must be an integer")
        if not -x.ndim <= dim < x.ndim:
            raise ValueError(f"dim={dim} is outside x's {x.ndim} dimensions (shape {tuple(x.shape)})")
        dim = int(dim) % x.ndim
        if b.ndim != 1 or b.shape[0] != x.shape[dim]:
            raise ValueError(
                f"b must have shape [{x.shape[dim]}] to match x.shape[{dim}], got {list(b.shape)} "
                f"with x of shape {list(x.shape)}"
            )
        if b.device != x.device:
            raise ValueError(f"b is on {b.device}, but x is on {x.device}; pass b.to(x.device)")
    alpha, gain = activation_arguments(act, alpha, gain, clamp)
    if x.dtype in ops.DTYPES and use_native(x.device):
        return native_bias_act(  # type: ignore[no-any-return]
            x, b, dim, ACTIVATIONS[act].index, alpha, gain, math.inf if clamp is None else clamp
        )
    return bias_act_reference(x, b, dim, act, alpha, gain, clamp)


__all__ = ["activation_arguments", "bias_act"]
