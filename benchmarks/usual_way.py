"""Our networks computed as StyleGAN2 code usually computes them: what the choices of this project are worth together.

A weight for every image and a grouped convolution (Karras et al., CVPR 2020, section 2.2), contiguous tensors, upfirdn2d and
bias_act as PyTorch's operations. The same parameters give the same images.
"""

from __future__ import annotations

import math
from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops import bias_act, upfirdn2d
from gan_lt.models.modulation import ModulatedConv2d


def compute_the_usual_way(network: nn.Module) -> None:
    """Have a network compute so, in place; call it inside `use_backend("reference")`."""
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for module in network.modules():
        if isinstance(module, ModulatedConv2d):
            module.forward = MethodType(_grouped_forward, module)  # type: ignore[method-assign]


def _grouped_forward(
    self: ModulatedConv2d, x: Tensor, w: Tensor, noise_mode: str = "random", gain: float = 1.0
) -> Tensor:
    n, size = len(x), self.resolution
    own = self.weight[None] * self.affine(w)[:, None, :, None, None]
    own = own * (own.square().sum(dim=[2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, -1, *x.shape[2:])
    if self.up == 1:
        x = F.conv2d(x, own.flatten(0, 1), padding=1, groups=n)
    else:
        x = F.conv_transpose2d(x, own.transpose(1, 2).flatten(0, 1), stride=2, groups=n)
    x = x.reshape(n, -1, *x.shape[2:])
    if self.up == 2:
        x = upfirdn2d(x, self.resample_filter, padding=1, gain=4.0)
    if noise_mode == "random":
        x = x + torch.randn(n, 1, size, size, dtype=x.dtype, device=x.device) * self.noise_strength
    elif noise_mode == "const":
        x = x + self.noise_const * self.noise_strength
    clamp = None if self.conv_clamp is None else self.conv_clamp * gain
    return bias_act(x, self.bias, act="lrelu", gain=math.sqrt(2) * gain, clamp=clamp)
