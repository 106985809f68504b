"""The generator as self-contained graphs of plain PyTorch operations: what ONNX and torch.export files are made of."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cuda_ops import use_backend
from gan_lt.errors import InputError
from gan_lt.models import Generator

if TYPE_CHECKING:
    from torch.export import ExportedProgram

PARTS = ("joined", "mapping", "synthesis")
TOLERANCE = 1e-4
"""The largest `relative_difference` of a file's images from the generator's."""
_EXAMPLE_BATCH = 2


class MappingGraph(nn.Module):
    """z [N, z_dim], y int64 [N] (not for an unconditional generator), psi [] -> ws [N, num_ws, w_dim]."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.mapping = generator.mapping

    def forward(self, z: Tensor, *labels_and_psi: Tensor) -> Tensor:
        *labels, psi = labels_and_psi
        ws = self.mapping.layer_styles(self.mapping.style(z, labels[0] if labels else None), z)
        # `truncate` decides by psi's value; a graph has to compute it
        centre = self.mapping.centre(ws.shape[1])
        return centre + psi * (ws - centre)


class SynthesisGraph(nn.Module):
    """ws [N, num_ws, w_dim] -> images, with the constant noise."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.synthesis = generator.synthesis

    def forward(self, ws: Tensor) -> Tensor:
        images: Tensor = self.synthesis(ws, noise_mode="const")
        return images


class JoinedGraph(nn.Module):
    """z, y (not for an unconditional generator), psi -> images."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.mapping, self.synthesis = MappingGraph(generator), SynthesisGraph(generator)

    def forward(self, z: Tensor, *labels_and_psi: Tensor) -> Tensor:
        images: Tensor = self.synthesis(self.mapping(z, *labels_and_psi))
        return images


def graph_inputs(generator: Generator, part: str) -> list[str]:
    """Names of a part's inputs, in order."""
    if part == "synthesis":
        return ["ws"]
    return ["z", "y", "psi"] if generator.num_classes else ["z", "psi"]


def example_inputs(generator: Generator, part: str, batch: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Seeded inputs of a part for `batch` images, in the order of `graph_inputs`."""
    source = torch.Generator().manual_seed(seed)
    if part == "synthesis":
        return (torch.randn(batch, generator.num_ws, generator.w_dim, generator=source),)
    z, psi = torch.randn(batch, generator.z_dim, generator=source), torch.tensor(0.7)
    if not generator.num_classes:
        return z, psi
    return z, torch.arange(batch) % generator.num_classes, psi


def reference_output(generator: Generator, part: str, inputs: Sequence[Tensor]) -> Tensor:
    """What the generator itself makes of a part's inputs."""
    with torch.no_grad():
        if part == "synthesis":
            images: Tensor = generator.synthesis(inputs[0], noise_mode="const")
            return images
        z, *labels, psi = inputs
        ws: Tensor = generator.mapping(z, labels[0] if labels else None, truncation_psi=float(psi))
        return ws if part == "mapping" else generator.synthesis(ws, noise_mode="const")


def relative_difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to max(1, largest value); infinite where shapes differ or values are not finite."""
    if found.shape != expected.shape or not all(bool(torch.isfinite(t).all()) for t in (found, expected)):
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1))


def detached_copy(generator: Generator) -> Generator:
    """The generator on the CPU, in evaluation mode, float32, without gradients; the original stays as it is."""
    if not isinstance(generator, Generator):
        raise InputError(f"a {type(generator).__name__} can't be exported; pass a StyleGAN2 Generator")
    network = copy.deepcopy(generator).cpu().float().eval().requires_grad_(False)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network


def capture(generator: Generator, part: str) -> ExportedProgram:
    """A part of the generator as a graph with any number of images, our own kernels replaced by the reference.

    Args:
        generator: as `detached_copy` returns it. part: "joined", "mapping" or "synthesis".

    Raises:
        InputError: another part.
    """
    import torch.export  # heavy, and of no use but here

    builders = {"joined": JoinedGraph, "mapping": MappingGraph, "synthesis": SynthesisGraph}
    if part not in builders:
        raise InputError(f"part={part!r} must be one of {', '.join(PARTS)}")
    n = torch.export.Dim("n", min=1)
    names = graph_inputs(generator, part)
    sizes = [None if name == "psi" else {0: n} for name in names]
    inputs = example_inputs(generator, part, _EXAMPLE_BATCH)
    with use_backend("reference"), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = (sizes[0], tuple(sizes[1:])) if len(sizes) > 1 else (sizes[0],)
        return torch.export.export(builders[part](generator).eval(), inputs, dynamic_shapes=shapes)


def description(generator: Generator) -> str:
    """The generator's configuration as JSON, which goes with the file: class names, sizes."""
    return json.dumps({"class": "Generator", **generator.config})


__all__ = [
    "PARTS",
    "TOLERANCE",
    "capture",
    "description",
    "detached_copy",
    "example_inputs",
    "graph_inputs",
    "reference_output",
    "relative_difference",
]
