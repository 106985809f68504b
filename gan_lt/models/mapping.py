"""The mapping network: (z, class) -> w (Karras et al., CVPR 2019; conditioning as in NeurIPS 2020)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from gan_lt.models.layers import ClassEmbedding, FullyConnected, normalize_2nd_moment


class MappingNetwork(nn.Module):
    """Normalised z, concatenated with the normalised class embedding, through fully connected layers.

    Args:
        z_dim: size of z; 0 maps the class alone (the discriminator's projection vector).
        num_classes: 0 for unconditional.
        w_dim: size of the output and of the class embedding.
        num_ws: how often `forward` repeats w, one for each layer of the synthesis network; None: not repeated.
        num_layers: fully connected layers.
        lr_multiplier: of these layers.
        w_avg_beta: decay of the running mean of w, the centre of truncation.
    """

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,
        num_classes: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int = 8,
        lr_multiplier: float = 0.01,
        w_avg_beta: float = 0.995,
    ) -> None:
        super().__init__()
        self.z_dim, self.num_classes, self.w_dim, self.num_ws = z_dim, num_classes, w_dim, num_ws
        self.w_avg_beta = w_avg_beta
        self.embed = ClassEmbedding(num_classes, w_dim) if num_classes > 0 else None
        sizes = [z_dim + (w_dim if num_classes > 0 else 0)] + [w_dim] * num_layers
        self.layers = nn.ModuleList(
            FullyConnected(a, b, activation="lrelu", lr_multiplier=lr_multiplier)
            for a, b in itertools.pairwise(sizes)
        )
        if num_ws is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def style(self, z: Tensor | None, y: Tensor | None, embedding_noise: Tensor | None = None) -> Tensor:
        """w before it is repeated for the layers.

        Args:
            z: [N, z_dim] standard normal, None when z_dim is 0.
            y: int64 class indices [N], ignored when unconditional.
            embedding_noise: [N, w_dim], added to the class embedding before its normalisation (NoisyTwins).

        Returns:
            [N, w_dim] float32.
        """
        parts: list[Tensor] = []
        if self.z_dim > 0:
            if z is None or z.ndim != 2 or z.shape[1] != self.z_dim:
                raise ValueError(f"z must be [N, {self.z_dim}], got {None if z is None else list(z.shape)}")
            parts.append(normalize_2nd_moment(z.float()))
        if self.embed is not None:
            c = self.embed(checked_labels(y, self.num_classes, z.shape[0] if z is not None else None))
            if embedding_noise is not None:
                c = c + embedding_noise
            parts.append(normalize_2nd_moment(c))
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        for layer in self.layers:
            x = layer(x)
        return x

    def broadcast(self, w: Tensor) -> Tensor:
        """[N, w_dim] -> [N, num_ws, w_dim], a view."""
        if self.num_ws is None:
            raise ValueError("this mapping network feeds no synthesis layers (num_ws is None)")
        return w.unsqueeze(1).expand(-1, self.num_ws, -1)

    @torch.no_grad()
    def track_w_avg(self, w: Tensor) -> None:
        """Move the running mean of w towards the mean of this batch; w: [N, w_dim]."""
        self.w_avg.lerp_(w.detach().float().mean(dim=0), 1 - self.w_avg_beta)

    def truncate(self, ws: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
        """Pull ws [N, num_ws, w_dim] towards the mean w: psi 1 changes nothing, 0 gives the mean.

        cutoff: only the first so many layers.
        """
        if psi == 1:
            return ws
        if cutoff is None:
            return self.w_avg.lerp(ws, psi)
        return torch.cat([self.w_avg.lerp(ws[:, :cutoff], psi), ws[:, cutoff:]], dim=1)

    def forward(
        self,
        z: Tensor | None,
        y: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """z [N, z_dim], y int64 [N] -> w [N, num_ws, w_dim] ([N, w_dim] when num_ws is None)."""
        w = self.style(z, y)
        if self.num_ws is None:
            return w
        return self.truncate(self.broadcast(w), truncation_psi, truncation_cutoff)


def checked_labels(y: Tensor | None, num_classes: int, batch: int | None) -> Tensor:
    """The labels, if they are int64 [N] class indices below num_classes; else ValueError with the offending value.

    On a GPU the range is not checked: that would make the host wait for the device in every step.
    """
    if y is None:
        raise ValueError(
            f"y is None, but the network has {num_classes} classes; pass int64 class indices [N]"
        )
    if y.ndim != 1 or y.is_floating_point() or y.dtype == torch.bool:
        raise ValueError(f"y must be int64 class indices [N], got {y.dtype} {list(y.shape)}")
    if batch is not None and y.shape[0] != batch:
        raise ValueError(f"y has {y.shape[0]} labels for a batch of {batch}")
    if y.device.type == "cpu" and not torch.compiler.is_compiling() and len(y):
        low, high = (int(v) for v in torch.aminmax(y))
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"y holds class {low if low < 0 else high}, but the classes are 0 to {num_classes - 1}"
            )
    return y.long()
