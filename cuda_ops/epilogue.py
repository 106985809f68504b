"""modulated_epilogue: all that a StyleGAN2 layer does after its convolution, in one pass over memory."""

from __future__ import annotations

import math

from torch import Tensor

from cuda_ops import ops
from cuda_ops.activation import activation_arguments
from cuda_ops.activation_table import ACTIVATIONS
from cuda_ops.backend import use_native
from cuda_ops.epilogue_autograd import native_modulated_epilogue
from cuda_ops.reference import modulated_epilogue_reference


def modulated_epilogue(
    x: Tensor,
    demod: Tensor | None = None,
    noise: Tensor | None = None,
    strength: Tensor | None = None,
    bias: Tensor | None = None,
    act: str = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """clamp(gain * act(x * demod + noise * strength + bias, alpha), -clamp, clamp).

    Args:
        x: [N, C, H, W], floating point, contiguous or channels_last; a convolution's output.
        demod: demodulation coefficients [N, C], or None for 1.
        noise: [N, 1, H, W], [1, 1, H, W] or [H, W], the same for every channel; a constant (it gets no gradient), or None.
        strength: the noise's strength, a tensor of one element; needed where noise is given.
        bias: [C] or None.
        act, alpha, gain, clamp: as in `bias_act`.

    Returns:
        A tensor of x's shape, dtype and memory format; computed in float32 or better. Differentiable twice with respect to
        x, demod, strength and bias.

    Raises:
        ValueError: shapes that do not fit x, noise without strength, noise that requires grad, and as in `bias_act`.

    Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, section 2 and appendix B.

    >>> x = torch.tensor([[[[-1.0, 2.0]]]])
    >>> modulated_epilogue(x, demod=torch.tensor([[2.0]]), bias=torch.tensor([1.0]), act="relu", gain=1.0)
    tensor([[[[0., 5.]]]])
    """
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        what = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must be a floating-point tensor [N, C, H, W], got {what}")
    n, c, h, w = x.shape
    if demod is not None and demod.shape != (n, c):
        raise ValueError(
            f"demod must be [N, C] = {[n, c]} to match x {list(x.shape)}, got {list(demod.shape)}"
        )
    if bias is not None and bias.shape != (c,):
        raise ValueError(f"bias must be [C] = {[c]} to match x {list(x.shape)}, got {list(bias.shape)}")
    if noise is not None:
        # by rank: comparing a 2-D shape with n would tie an exported graph's batch to sizes other than h
        shapes = [(h, w)] if noise.ndim == 2 else [(n, 1, h, w), (1, 1, h, w)]
        if noise.shape not in shapes:
            raise ValueError(
                f"noise must be {[n, 1, h, w]}, {[1, 1, h, w]} or {[h, w]} to match x, got {list(noise.shape)}"
            )
        if strength is None or strength.numel() != 1:
            got = None if strength is None else list(strength.shape)
            raise ValueError(f"strength must be a tensor of one element where noise is given, got {got}")
        if noise.requires_grad:
            raise ValueError("noise requires grad, but it is a constant here; pass noise.detach()")
    alpha, gain = activation_arguments(act, alpha, gain, clamp)
    if x.dtype in ops.DTYPES and use_native(x.device):
        limit = math.inf if clamp is None else clamp
        return native_modulated_epilogue(  # type: ignore[no-any-return]
            x, demod, noise, strength, bias, ACTIVATIONS[act].index, alpha, gain, limit
        )
    return modulated_epilogue_reference(x, demod, noise, strength, bias, act, alpha, gain, clamp)


__all__ = ["modulated_epilogue"]
