"""What a generator does, to look at: samples of each class, interpolations, a sweep of truncation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gan_lt.class_names import all_composed
from gan_lt.errors import InputError
from gan_lt.models import ImageGenerator
from gan_lt.sampling.grid import class_grid
from gan_lt.sampling.images import latents_from_seeds, sample_images, to_uint8
from gan_lt.sampling.plan import image_seeds

_UNCONDITIONAL_ROWS = 8
_BATCH = 64


def class_pictures(
    generator: ImageGenerator,
    columns: int = 8,
    seed: int = 0,
    truncation_psi: float = 1.0,
    classes: Sequence[str] | None = None,
) -> NDArray[np.uint8]:
    """A row a class: the first `columns` images that `generate.py` makes of it.

    Args:
        classes: rows, by name; None: all. Of an unconditional network there are 8 rows of different images.

    Returns:
        uint8 [rows * H, columns * W] (grey) or [rows * H, columns * W, 3].

    Raises:
        InputError: an unknown class, no columns.
    """
    labels, _ = _rows(generator, classes, columns)
    column = np.tile(np.arange(columns), len(labels))
    rows = np.repeat(labels, columns)
    index = column if generator.num_classes else np.arange(len(rows))
    images = sample_images(generator, rows, image_seeds(seed, rows, index), truncation_psi)
    return class_grid(images, columns)


def interpolation_pictures(
    generator: ImageGenerator,
    columns: int = 8,
    seed: int = 0,
    truncation_psi: float = 1.0,
    classes: Sequence[str] | None = None,
) -> NDArray[np.uint8]:
    """A row a class: from its image 0 to its image 1, along the great circle between their latents (White, 2016).

    Latents of a Gaussian lie near a sphere, so a straight line between two would leave where the network was trained.
    Arguments, result and errors: as `class_pictures`.
    """
    labels, indices = _rows(generator, classes, columns)
    if columns < 2:
        raise InputError(f"--columns: {columns} must be at least 2, the ends")
    a = latents_from_seeds(image_seeds(seed, labels, indices), generator.z_dim).astype(np.float64)
    b = latents_from_seeds(image_seeds(seed, labels, indices + 1), generator.z_dim).astype(np.float64)
    z = spherical_interpolation(a, b, columns)
    rows = np.repeat(labels, columns)
    return class_grid(_from_latents(generator, z.reshape(-1, generator.z_dim), rows, truncation_psi), columns)


def truncation_pictures(
    generator: ImageGenerator,
    columns: int = 8,
    seed: int = 0,
    truncation_psi: float = 1.0,
    classes: Sequence[str] | None = None,
) -> NDArray[np.uint8]:
    """A row a class: its image 0 with truncation psi from 0 (the mean image) to `truncation_psi`.

    Arguments, result and errors: as `class_pictures`.
    """
    labels, indices = _rows(generator, classes, columns)
    if columns < 2:
        raise InputError(f"--columns: {columns} must be at least 2, from 0 to the full truncation psi")
    rows = np.repeat(labels, columns)
    seeds = image_seeds(seed, rows, np.repeat(indices, columns))
    psi = np.tile(np.linspace(0, truncation_psi, columns), len(labels))
    return class_grid(sample_images(generator, rows, seeds, psi), columns)


def spherical_interpolation(
    a: NDArray[np.float64], b: NDArray[np.float64], steps: int
) -> NDArray[np.float64]:
    """[n, d], [n, d] -> [n, steps, d]: from a to b at constant angular speed; lengths change evenly."""
    length_a, length_b = (np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    cosine = np.clip(np.sum(a * b, axis=1, keepdims=True) / (length_a * length_b), -1, 1)
    angle = np.arccos(cosine)[:, :, None]
    t = np.linspace(0, 1, steps)[None, :, None]
    unit_a, unit_b = (a / length_a)[:, None], (b / length_b)[:, None]
    sine = np.maximum(np.sin(angle), 1e-12)
    # parallel ends: the sine vanishes, and the straight line is the great circle
    direction = np.where(
        angle < 1e-6,
        (1 - t) * unit_a + t * unit_b,
        (np.sin((1 - t) * angle) * unit_a + np.sin(t * angle) * unit_b) / sine,
    )
    points: NDArray[np.float64] = direction * ((1 - t) * length_a[:, :, None] + t * length_b[:, :, None])
    return points


def _rows(
    generator: ImageGenerator, classes: Sequence[str] | None, columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Class index and first image index of every row."""
    if columns < 1:
        raise InputError(f"--columns: {columns} must be at least 1")
    if generator.num_classes == 0:
        if classes is not None:
            raise InputError("--classes: the network is unconditional and has none")
        return np.zeros(_UNCONDITIONAL_ROWS, dtype=np.int64), 2 * np.arange(_UNCONDITIONAL_ROWS)
    known = all_composed(generator.class_names)
    wanted = all_composed(classes or known)
    for name in wanted:
        if name not in known:
            raise InputError(f"--classes: there is no class {name!r}; the network has {', '.join(known)}")
    labels = [known.index(name) for name in wanted]
    return np.array(labels, dtype=np.int64), np.zeros(len(labels), dtype=np.int64)


@torch.inference_mode()
def _from_latents(
    generator: ImageGenerator, z: NDArray[np.float64], labels: NDArray[np.int64], psi: float
) -> NDArray[np.uint8]:
    device = next(generator.parameters()).device
    parts = []
    for start in range(0, len(z), _BATCH):
        part = slice(start, start + _BATCH)
        latents = torch.from_numpy(z[part].astype(np.float32)).to(device)
        y = torch.from_numpy(labels[part]).to(device)
        parts.append(to_uint8(generator(latents, y, truncation_psi=psi, noise_mode="const")).cpu().numpy())
    return np.concatenate(parts)
