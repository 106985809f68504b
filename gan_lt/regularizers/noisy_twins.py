"""NoisyTwins: noise in the class embedding and Barlow-Twins decorrelation in w (Rangwani et al., CVPR 2023).

Without it all w of one rare class collapse to one point.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gan_lt.arguments import check_floating, check_number
from gan_lt.processes import gather_rows
from gan_lt.regularizers.class_weights import inverse_effective_weights
from gan_lt.regularizers.term import Latents, Phase, StepBatch, Term


def class_noise_std(counts: Tensor | Sequence[float], sigma: float, beta: float) -> Tensor:
    """s_k = sigma * v_k, the standard deviation of class k's embedding noise: rare classes get more.

    Args:
        counts: training images of each class, [K].
        sigma: mean standard deviation, at least 0.
        beta: of the effective number of samples, in [0, 1); 0 gives every class the same noise.

    Returns:
        float64 [K] with mean sigma.

    Raises:
        ValueError: a count under 1, a negative sigma, beta outside [0, 1).
    """
    check_number(sigma, "sigma", least=0)
    return sigma * inverse_effective_weights(counts, beta)


def noisy_twins_loss(w_a: Tensor, w_b: Tensor, off_diagonal_weight: float = 0.05) -> Tensor:
    """L = sum_i (1 - C_ii)^2 + gamma * sum_{i != j} C_ij^2, C the cross-correlation of twins in w.

    Args:
        w_a, w_b: [B, D], the w of the two members of each pair.
        off_diagonal_weight: gamma.

    Returns:
        A scalar, float32 or better.

    Raises:
        ValueError: no floating-point tensors, different or not two-dimensional shapes, float64 with another dtype, fewer
            than 2 pairs, a weight that is negative or not finite.

    Source: Rangwani et al., CVPR 2023; Zbontar et al., "Barlow Twins", ICML 2021, eq. 1 and 2.
    """
    check_floating(w_a, "w_a", "[B, D]")
    check_floating(w_b, "w_b", "[B, D]")
    if w_a.ndim != 2 or w_a.shape != w_b.shape or w_a.shape[1] == 0:
        raise ValueError(f"w_a and w_b must both be [B, D], got {list(w_a.shape)} and {list(w_b.shape)}")
    if w_a.dtype != w_b.dtype and torch.float64 in (w_a.dtype, w_b.dtype):
        raise ValueError(f"w_a is {w_a.dtype} and w_b is {w_b.dtype}; both must have one dtype")
    if len(w_a) < 2:
        raise ValueError(f"{len(w_a)} pair can't be standardised over the batch; at least 2 are needed")
    check_number(off_diagonal_weight, "off_diagonal_weight", least=0)
    C = standardize(w_a).t() @ standardize(w_b) / len(w_a)
    diagonal = C.diagonal()
    off_diagonal = C.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + off_diagonal_weight * off_diagonal


def standardize(w: Tensor, eps: float = 1e-5) -> Tensor:
    """Mean 0 and variance 1 over the batch, coordinate by coordinate (biased variance)."""
    w = w if w.dtype == torch.float64 else w.float()
    variance, mean = torch.var_mean(w, dim=0, correction=0)
    return (w - mean) * (variance + eps).rsqrt()


class NoisyTwins(Term):
    """The term: noise in every generator pass, twins and their loss in the generator step.

    Args:
        counts: training images of each class, [K].
        w_dim: size of the class embedding.
        weight: lambda, of the loss; 0 leaves the noise alone.
        gamma: weight of the off-diagonal entries.
        sigma, beta: of the noise, see `class_noise_std`.
        start_step: first generator step in which noise and loss act.
    """

    noise_std: Tensor

    def __init__(
        self,
        counts: Tensor | Sequence[float],
        w_dim: int,
        weight: float = 0.01,
        gamma: float = 0.05,
        sigma: float = 0.75,
        beta: float = 0.99,
        start_step: int = 0,
    ) -> None:
        super().__init__(name="noisytwins", weight=weight)
        self.w_dim, self.gamma, self.start_step = w_dim, gamma, start_step
        self.register_buffer("noise_std", class_noise_std(counts, sigma, beta).float(), persistent=False)

    def prepare(self, latents: Latents, phase: Phase, step: int) -> Latents:
        """Pairs with the same z and y (generator step), each member with its own embedding noise (both steps)."""
        if step < self.start_step or latents.y is None:
            return latents
        z, y, origin = latents.z, latents.y, latents.origin
        if phase == "generator" and self.weight > 0:
            if len(z) % 2:
                raise ValueError(f"NoisyTwins needs an even batch in the generator step, got {len(z)}")
            first = torch.arange(len(z) // 2, device=z.device).repeat(2)
            z, y = z[first], y[first]
            origin = first if origin is None else origin[first]
        noise = torch.randn(len(z), self.w_dim, device=z.device) * self.noise_std[y].unsqueeze(1)
        return Latents(z, y, noise, origin)

    def generator_loss(self, batch: StepBatch) -> Tensor | None:
        if batch.step < self.start_step or self.weight == 0 or batch.latents.embedding_noise is None:
            return None
        w_a, w_b = gather_rows(batch.w).chunk(2)
        return noisy_twins_loss(w_a, w_b, self.gamma)
