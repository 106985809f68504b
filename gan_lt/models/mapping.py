"""The mapping network: (z, class) -> w (Karras et al., CVPR 2019; conditioning as in NeurIPS 2020)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from gan_lt.arguments import check_floating, check_number
from gan_lt.errors import InputError
from gan_lt.models.layers import ClassEmbedding, FullyConnected, normalize_2nd_moment
from gan_lt.processes import mean_over_processes


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
        unconditional_ws: so many of the first layers get the w of z alone, with no class.
        fading_classes: multiply the normalised class embedding by `class_scale`, which starts at 1.
    """

    w_avg: Tensor
    w_avg_unconditional: Tensor
    class_scale: Tensor | None

    def __init__(
        self,
        z_dim: int,
        num_classes: int,
        w_dim: int,
        num_ws: int | None,
        num_layers: int = 8,
        lr_multiplier: float = 0.01,
        w_avg_beta: float = 0.995,
        unconditional_ws: int = 0,
        fading_classes: bool = False,
    ) -> None:
        super().__init__()
        self.z_dim, self.num_classes, self.w_dim, self.num_ws = z_dim, num_classes, w_dim, num_ws
        self.w_avg_beta, self.unconditional_ws = w_avg_beta, unconditional_ws
        self.embed = ClassEmbedding(num_classes, w_dim) if num_classes > 0 else None
        sizes = [z_dim + (w_dim if num_classes > 0 else 0)] + [w_dim] * num_layers
        self.layers = nn.ModuleList(
            FullyConnected(a, b, activation="lrelu", lr_multiplier=lr_multiplier)
            for a, b in itertools.pairwise(sizes)
        )
        if num_ws is not None:
            self.register_buffer("w_avg", torch.zeros(w_dim))
        if unconditional_ws > 0:
            self.register_buffer("w_avg_unconditional", torch.zeros(w_dim))
        self.register_buffer("class_scale", torch.ones([]) if fading_classes else None)

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
            check_floating(z, "z", f"[N, {self.z_dim}]")
            if z is None or z.ndim != 2 or z.shape[1] != self.z_dim:
                raise ValueError(f"z must be [N, {self.z_dim}], got {None if z is None else list(z.shape)}")
            parts.append(normalize_2nd_moment(z.float()))
        if self.embed is not None:
            c = self.embed(checked_labels(y, self.num_classes, z.shape[0] if z is not None else None))
            if embedding_noise is not None:
                c = c + embedding_noise
            c = normalize_2nd_moment(c)
            parts.append(c if self.class_scale is None else c * self.class_scale)
        return self._layers(parts)

    def style_without_class(self, z: Tensor) -> Tensor:
        """w of z [N, z_dim] alone, [N, w_dim]: the class embedding is 0."""
        return self._layers([normalize_2nd_moment(z.float()), z.new_zeros(z.shape[0], self.w_dim)])

    def _layers(self, parts: list[Tensor]) -> Tensor:
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        for layer in self.layers:
            x = layer(x)
        return x

    def layer_styles(self, w: Tensor, z: Tensor) -> Tensor:
        """w [N, w_dim] of the latents z -> w of every layer [N, num_ws, w_dim]; the unconditional layers have their own."""
        ws = self.broadcast(w)
        if self.unconditional_ws == 0:
            return ws
        first = self.style_without_class(z).unsqueeze(1).expand(-1, self.unconditional_ws, -1)
        return torch.cat([first, ws[:, self.unconditional_ws :]], dim=1)

    def broadcast(self, w: Tensor) -> Tensor:
        """[N, w_dim] -> [N, num_ws, w_dim], a view."""
        if self.num_ws is None:
            raise ValueError("this mapping network feeds no synthesis layers (num_ws is None)")
        return w.unsqueeze(1).expand(-1, self.num_ws, -1)

    @torch.no_grad()
    def track_w_avg(self, w: Tensor, z: Tensor | None = None) -> None:
        """Move the running mean of w towards the mean of this batch; w: [N, w_dim], z: its latents."""
        self._follow(self.w_avg, w)
        if self.unconditional_ws > 0 and z is not None:
            self._follow(self.w_avg_unconditional, self.style_without_class(z))

    def _follow(self, average: Tensor, w: Tensor) -> None:
        mean = mean_over_processes(w.detach().float().mean(dim=0))
        # a step that overflowed is skipped; it must not stay here either
        average.lerp_(torch.where(torch.isfinite(mean), mean, average), 1 - self.w_avg_beta)

    def centre(self, num_ws: int) -> Tensor:
        """The mean w of every layer [num_ws, w_dim]; the unconditional layers have their own."""
        centre = self.w_avg.expand(num_ws, -1)
        if self.unconditional_ws == 0:
            return centre
        first = self.w_avg_unconditional.expand(self.unconditional_ws, -1)
        return torch.cat([first, centre[self.unconditional_ws :]])

    def truncate(self, ws: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
        """Pull ws [N, num_ws, w_dim] towards the mean w: psi 1 changes nothing, 0 gives the mean.

        cutoff: only the first so many layers.
        """
        if not isinstance(psi, Tensor):
            check_number(psi, "truncation_psi")
        if psi == 1:
            return ws
        centre = self.centre(ws.shape[1])
        if cutoff is None:
            return centre.lerp(ws, psi)
        return torch.cat([centre[:cutoff].lerp(ws[:, :cutoff], psi), ws[:, cutoff:]], dim=1)

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
        ws = self.broadcast(w) if z is None else self.layer_styles(w, z)
        return self.truncate(ws, truncation_psi, truncation_cutoff)


def checked_labels(y: Tensor | None, num_classes: int, batch: int | None) -> Tensor:
    """The labels, if they are int64 [N] class indices below num_classes; else ValueError with the offending value.

    On a GPU the range is not checked: that would make the host wait for the device in every step.
    """
    if y is None:
        raise ValueError(
            f"y is None, but the network has {num_classes} classes; pass int64 class indices [N]"
        )
    if not isinstance(y, Tensor):
        raise InputError(f"y={repr(y)[:200]} must be a tensor of int64 class indices [N]")
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
