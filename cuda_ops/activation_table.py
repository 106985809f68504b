"""The nine activations with StyleGAN2's default slopes and gains (Karras et al., CVPR 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """One activation: its index in the kernels, its function of (x, alpha) and its default alpha and gain.

    The gain keeps the variance of a unit normal input near one.
    """

    index: int
    function: Callable[[Tensor, float], Tensor]
    alpha: float
    gain: float


_SQRT2 = math.sqrt(2)

ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(0, lambda x, _: x, 0.0, 1.0),
    "relu": Activation(1, lambda x, _: torch.relu(x), 0.0, _SQRT2),
    "lrelu": Activation(2, lambda x, alpha: F.leaky_relu(x, alpha), 0.2, _SQRT2),
    "tanh": Activation(3, lambda x, _: torch.tanh(x), 0.0, 1.0),
    "sigmoid": Activation(4, lambda x, _: torch.sigmoid(x), 0.0, 1.0),
    "elu": Activation(5, lambda x, _: F.elu(x), 0.0, 1.0),
    "selu": Activation(6, lambda x, _: F.selu(x), 0.0, 1.0),
    "softplus": Activation(7, lambda x, _: F.softplus(x), 0.0, 1.0),
    "swish": Activation(8, lambda x, _: torch.sigmoid(x) * x, 0.0, _SQRT2),
}

ACTIVATION_NAMES = tuple(ACTIVATIONS)
# Those whose slope can be told from the sign of the input alone; their second derivative is zero.
PIECEWISE_LINEAR = frozenset(ACTIVATIONS[name].index for name in ("linear", "relu", "lrelu"))
