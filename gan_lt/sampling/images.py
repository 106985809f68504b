"""Images from class labels and seeds: the same bytes however the work is split."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gan_lt.models import ImageGenerator

# Images go through the network in chunks of this size, the last one filled up, so that an image's rounding does not
# depend on how many are asked for at once.
CHUNK = 64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def latents_from_seeds(seeds: ArrayLike, size: int) -> NDArray[np.float32]:
    """Standard normal latents [N, size], each row a function of its own seed alone.

    A counter-based generator (SplitMix64: Steele et al., OOPSLA 2014) and the Box-Muller transform, all rows at once.

    Args:
        seeds: integers [N], 0 or more.
        size: numbers per row.

    Raises:
        ValueError: a negative seed, seeds that are not a vector of integers.
    """
    array = np.asarray(seeds)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"seeds must be integers [N], got {array.dtype} {list(array.shape)}")
    if array.size and array.min() < 0:
        raise ValueError(f"seed {array.min()} must be 0 or more")
    pairs = (size + 1) // 2
    with np.errstate(over="ignore"):
        stream = _mix(array.astype(np.uint64)[:, None] * _GOLDEN + np.uint64(1))
        counter = np.arange(1, 2 * pairs + 1, dtype=np.uint64)[None, :] * _GOLDEN
        bits = _mix(stream + counter)
    # 53 random bits -> (0, 1): never 0, whose logarithm is infinite
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2 * np.log(uniform[:, :pairs]))
    angle = 2 * np.pi * uniform[:, pairs:]
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return normal[:, :size].astype(np.float32)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def to_uint8(images: Tensor) -> Tensor:
    """Float images in [-1, 1] -> uint8, rounded; out-of-range values are clipped."""
    return (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


@torch.inference_mode()
def sample_images(
    generator: ImageGenerator,
    labels: ArrayLike,
    seeds: ArrayLike,
    truncation_psi: float | NDArray[np.float64] = 1.0,
    noise_mode: str = "const",
    batch_size: int = CHUNK,
) -> NDArray[np.uint8]:
    """Images of the given classes from the given seeds.

    Args:
        generator: its classes must include the labels; used as it is (pass one in evaluation mode).
        labels: class indices [N]; ignored by an unconditional generator.
        seeds: integers [N]; image i depends on seeds[i], labels[i] and the settings alone.
        truncation_psi: 1 is the full distribution, towards 0 images near the mean; one for all, or float64 [N].
        noise_mode: "const" or "none" ("random" would make images depend on their neighbours).
        batch_size: images that go through the network at once.

    Returns:
        uint8 [N, C, H, W].

    Raises:
        ValueError: labels that are no whole numbers, labels and seeds of different length, a label outside the classes, a
            noise mode that isn't repeatable, a truncation that is not finite.
    """
    label_array, seed_array = np.asarray(labels), np.asarray(seeds)
    if label_array.size and label_array.dtype.kind not in "iu":
        raise ValueError(f"labels are {label_array.dtype}; give class indices, whole numbers [N]")
    label_array = label_array.astype(np.int64)
    if label_array.shape != seed_array.shape or label_array.ndim != 1:
        raise ValueError(
            f"labels {list(label_array.shape)} and seeds {list(seed_array.shape)} must both be [N]"
        )
    if noise_mode not in ("const", "none"):
        raise ValueError(f"noise_mode={noise_mode!r} must be const or none: sampling is repeatable")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    psi = np.asarray(truncation_psi, dtype=np.float64)
    if psi.ndim and psi.shape != label_array.shape:
        raise ValueError(f"truncation_psi {list(psi.shape)} must be one number or [{len(label_array)}]")
    if not np.isfinite(psi).all():
        row = int(np.argmin(np.isfinite(psi.reshape(-1))))
        where = f"truncation_psi[{row}]" if psi.ndim else "truncation_psi"
        raise ValueError(f"{where}={psi.reshape(-1)[row]} must be finite; 1 is the full distribution")
    if len(np.unique(psi)) > 1:
        return _sample_by_truncation(generator, label_array, seed_array, psi, noise_mode, batch_size)
    device = next(generator.parameters()).device
    size = generator.resolution
    out = np.empty((len(label_array), generator.img_channels, size, size), dtype=np.uint8)
    z = latents_from_seeds(seed_array, generator.z_dim)
    for start in range(0, len(out), batch_size):
        stop = min(start + batch_size, len(out))
        filled = np.resize(np.arange(start, stop), batch_size)
        images = generator(
            torch.from_numpy(z[filled]).to(device),
            torch.from_numpy(label_array[filled]).to(device),
            truncation_psi=float(psi.flat[0]) if psi.size else 1.0,
            noise_mode=noise_mode,
        )
        out[start:stop] = to_uint8(images[: stop - start]).cpu().numpy()
    return out


def _sample_by_truncation(
    generator: ImageGenerator,
    labels: NDArray[np.int64],
    seeds: NDArray[np.int64],
    psi: NDArray[np.float64],
    noise_mode: str,
    batch_size: int,
) -> NDArray[np.uint8]:
    size = generator.resolution
    out = np.empty((len(labels), generator.img_channels, size, size), dtype=np.uint8)
    for value in np.unique(psi):
        rows = np.flatnonzero(psi == value)
        out[rows] = sample_images(generator, labels[rows], seeds[rows], float(value), noise_mode, batch_size)
    return out
