"""gSR, the group spectral regularizer (Rangwani et al., ECCV 2022).

The conditioning parameters of a rare class explode in spectral norm just when that class collapses; this keeps them down.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from gan_lt.arguments import check_floating, check_integer
from gan_lt.errors import InputError
from gan_lt.regularizers.class_weights import inverse_effective_weights
from gan_lt.regularizers.term import StepBatch, Term

# numbers that power iteration goes over at once: 2 MiB, which stay in the cache from one iteration to the next
_BLOCK = 1 << 19


def matrix_shape(d: int) -> tuple[int, int]:
    """(g, h) with g * h = d and g <= h, as near square as the divisors of d allow.

    >>> matrix_shape(512), matrix_shape(48), matrix_shape(7)
    ((16, 32), (6, 8), (1, 7))
    """
    if d < 1:
        raise ValueError(f"d={d} must be at least 1")
    g = next(g for g in range(math.isqrt(d), 0, -1) if d % g == 0)
    return g, d // g


def spectral_norms(params: Tensor, power_iterations: int | None = None) -> Tensor:
    """Largest singular value of every class's parameter vector, reshaped to a near-square matrix.

    Args:
        params: [K, d], a vector for each class.
        power_iterations: None for an exact singular value decomposition, else so many iterations from a fixed start.

    Returns:
        [K], float32 or better. Differentiable with respect to params; once only after power iterations, which hold the
        singular vectors.

    Raises:
        ValueError: params not a floating-point tensor [K, d] of finite numbers, fewer than one iteration.

    Source: Rangwani et al., ECCV 2022, section 3.2.
    """
    matrices = _matrices(params)
    if matrices.dtype != torch.float64:
        matrices = matrices.float()
    if not bool(torch.isfinite(matrices).all()):
        k = int((~torch.isfinite(params)).any(dim=1).nonzero()[0])
        value = float(params[k][~torch.isfinite(params[k])][0])
        raise InputError(f"params[{k}] holds {value}: its spectral norm is undefined")
    if power_iterations is None:
        exact: Tensor = torch.linalg.svdvals(matrices)[:, 0]
        return exact
    check_integer(power_iterations, "power_iterations", 1, ", or None for exact values")
    return power_iteration(matrices, _start(matrices), power_iterations)[0]


def group_spectral_loss(
    params: Sequence[Tensor],
    counts: Tensor | Sequence[float],
    beta: float = 0.999,
    norms: Sequence[Tensor] | None = None,
) -> Tensor:
    """R = sum over l, y of v_y * sigma_max(P_ly)^2 / (L * K), v the mean-one inverse effective-number weights.

    Args:
        params: L tensors [K, d_l]: the embedding table, or gains and biases of conditional batch norm, one tensor each.
        counts: training images of each class, [K].
        beta: of the effective number, in [0, 1).
        norms: the L vectors [K] of spectral norms, where they are known already; None computes them exactly.

    Returns:
        A scalar.

    Raises:
        ValueError: no parameters, another number of classes than counts has, and as in `effective_number`.

    Source: Rangwani et al., ECCV 2022, eq. 5 and 6.
    """
    if not len(params):
        raise ValueError("params is empty: there is no conditioning layer to regularise")
    weights = inverse_effective_weights(counts, beta)
    for index, tensor in enumerate(params):
        check_floating(tensor, f"params[{index}]", f"[{len(weights)}, d]")
        if tensor.ndim != 2 or len(tensor) != len(weights):
            raise ValueError(
                f"params[{index}] must be [{len(weights)}, d] to match counts, got {list(tensor.shape)}"
            )
    sigmas = [spectral_norms(tensor) for tensor in params] if norms is None else list(norms)
    stacked = torch.stack(sigmas)
    weights = weights.to(device=stacked.device, dtype=stacked.dtype)
    return (stacked.square() * weights).mean()


def power_iteration(matrices: Tensor, v: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Spectral norms [K] of [K, g, h] and their right singular vectors [K, h], improved from v [K, h].

    The norms can be differentiated once: u v^T is the derivative, the vectors held.
    """
    norms, vectors = _PowerIteration.apply(matrices, v, iterations)  # type: ignore[no-untyped-call]
    return norms, vectors


class _PowerIteration(torch.autograd.Function):
    """In blocks of classes, whose matrices are read from memory once for all iterations.

    bmm by a column calls a kernel for every matrix, 10,000 for 10,000 classes; a product and a sum do not. v^T is P^T u
    normalised, so u^T P v is the length of P^T u, and its derivative u v^T.
    """

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, v: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
        u_all, v_all, sigmas = [], [], []
        block = max(1, _BLOCK // matrices[0].numel())
        space = torch.empty_like(matrices[:block])
        for P, right in zip(torch.split(matrices, block), torch.split(v, block), strict=True):
            product = space[: len(P)]
            for _ in range(iterations):
                torch.mul(P, right.unsqueeze(1), out=product)
                u = F.normalize(product.sum(dim=2), dim=1)
                new = torch.bmm(u.unsqueeze(1), P).squeeze(1)
                sigma = new.norm(dim=1)
                # a matrix of zeros, such as a bias at the start, has no direction: it keeps its v for the day it has
                right = torch.where(sigma.unsqueeze(1) > 0, F.normalize(new, dim=1), right)
            u_all.append(u)
            v_all.append(right)
            sigmas.append(sigma)
        u, v = torch.cat(u_all), torch.cat(v_all)
        ctx.save_for_backward(u, v)
        ctx.mark_non_differentiable(v)
        return torch.cat(sigmas), v

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        u, v = ctx.saved_tensors
        return (u * gradients[0].unsqueeze(1)).unsqueeze(2) * v.unsqueeze(1), None, None


def _matrices(params: Tensor) -> Tensor:
    check_floating(params, "params", "[K, d]")
    if params.ndim != 2 or not params.numel():
        raise ValueError(f"params must be [K, d], got {list(params.shape)}")
    return params.reshape(len(params), *matrix_shape(params.shape[1]))


def _start(matrices: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(matrices.shape[0], matrices.shape[2], generator=generator, dtype=torch.float64)
    return F.normalize(start.to(matrices), dim=1)


class GroupSpectral(Term):
    """The term: squared spectral norms of the conditioning parameters, rare classes weighted up.

    Args:
        parameters: returns the conditioning parameters, L tensors [K, d_l], with gradient.
        counts: training images of each class, [K].
        weight: of the loss. beta: of the effective number.
        iterations: power iterations a step; the first step makes 10 times as many. The vectors are buffers, one pair for
            each class and layer, so they are saved and resumed.
        layers: conditioning layers L that the parameters belong to (gain and bias are two parameters of one layer); None:
            one for each parameter.
    """

    started: Tensor

    def __init__(
        self,
        parameters: Callable[[], Sequence[Tensor]],
        counts: Tensor | Sequence[float],
        weight: float = 0.5,
        beta: float = 0.999,
        iterations: int = 4,
        layers: int | None = None,
    ) -> None:
        super().__init__(name="gsr", weight=weight)
        if iterations < 1:
            raise ValueError(f"gsr: iterations={iterations} must be at least 1")
        self._parameters_now, self.beta, self.iterations = parameters, beta, iterations
        self.counts = torch.as_tensor(counts, dtype=torch.float64)
        for index, tensor in enumerate(parameters()):
            self.register_buffer(f"v{index}", _start(_matrices(tensor.detach())))
        self.register_buffer("started", torch.zeros([], dtype=torch.bool))
        self._norms: list[Tensor] = []
        self._layers = layers

    def generator_loss(self, batch: StepBatch) -> Tensor | None:
        params = list(self._parameters_now())
        iterations = self.iterations if bool(self.started) else 10 * self.iterations
        norms: list[Tensor] = [torch.empty(0)] * len(params)
        layers_of: dict[torch.Size, list[int]] = defaultdict(list)
        for index, tensor in enumerate(params):
            layers_of[tensor.shape].append(index)
        for layers in layers_of.values():  # those of one shape are iterated together
            buffers = [self.get_buffer(f"v{index}") for index in layers]
            matrices = torch.cat([_matrices(params[index]) for index in layers])
            sigmas, v = power_iteration(matrices, torch.cat(buffers), iterations)
            torch._foreach_copy_(buffers, list(v.chunk(len(layers))))
            for index, sigma in zip(layers, sigmas.chunk(len(layers)), strict=True):
                norms[index] = sigma
        self.started.fill_(True)
        self._norms = [norm.detach() for norm in norms]
        loss = group_spectral_loss(params, self.counts, self.beta, norms)
        return loss if self._layers is None else loss * (len(params) / self._layers)

    def statistics(self) -> dict[str, float]:
        """Spectral norms over all layers: mean, largest, and of every class where there are at most 20."""
        if not self._norms:
            return {}
        per_class = torch.stack(self._norms).mean(dim=0)
        values = {"norm_mean": float(per_class.mean()), "norm_max": float(per_class.max())}
        if len(per_class) <= 20:
            values.update({f"norm_class_{k}": value for k, value in enumerate(per_class.tolist())})
        return values
