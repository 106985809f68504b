"""The 18 transforms of ADA in their order (Karras et al., NeurIPS 2020, appendix B).

Eighteen as the paper counts them: three of pixel blitting, four general geometric, five of color, four frequency bands
of image-space filtering ("imgfilter"), noise and cutout.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gan_lt.augment.blitting import BLITTING, blit
from gan_lt.augment.color import COLOR, transform_color
from gan_lt.augment.corruption import CORRUPTION, add_noise, cut_out
from gan_lt.augment.draws import Draws
from gan_lt.augment.filtering import FILTERING, filter_bands
from gan_lt.augment.geometry import GEOMETRY, transform_geometry
from gan_lt.errors import InputError

TRANSFORMS = (*BLITTING, *GEOMETRY, *COLOR, *FILTERING, *CORRUPTION)
GROUPS: dict[str, tuple[str, ...]] = {
    "blit": BLITTING,
    "geom": GEOMETRY,
    "color": COLOR,
    "filter": FILTERING,
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": BLITTING + GEOMETRY,
    "bgc": BLITTING + GEOMETRY + COLOR,
    "bgcf": BLITTING + GEOMETRY + COLOR + FILTERING,
    "bgcfn": BLITTING + GEOMETRY + COLOR + FILTERING + ("noise",),
    "bgcfnc": TRANSFORMS,
}
_SMALLEST = 8


def named_transforms(names: Sequence[str]) -> tuple[str, ...]:
    """Groups ("bgc") and single transforms ("hue") -> the transforms they mean, each once, in the pipeline's order.

    Raises:
        ValueError: a name that is neither.

    >>> named_transforms(["blit", "hue"])
    ('xflip', 'rotate90', 'xint', 'hue')
    """
    wanted: set[str] = set()
    for name in names:
        if name not in GROUPS and name not in TRANSFORMS:
            raise InputError(
                f"ADA transform {name!r} is not known; choose from {', '.join([*GROUPS, *TRANSFORMS])}"
            )
        wanted.update(GROUPS.get(name, (name,)))
    return tuple(name for name in TRANSFORMS if name in wanted)


def ada_augment(
    images: Tensor,
    p: Tensor | float,
    transforms: Sequence[str] = ("bgc",),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Augment a batch: every image is given every transform with probability p, each with its own draw.

    Args:
        images: [N, C, S, S] floating, in [-1, 1], S at least 8; C is 1 or 3 where colors change.
        p: probability in [0, 1], a number or a scalar tensor; 0 gives back the images themselves, bit for bit.
        transforms: groups or single transforms, see `named_transforms`; the paper's choice is "bgc".
        generator: of random numbers, on the images' device; None: PyTorch's own.

    Returns:
        A tensor of the same shape, differentiable twice with respect to `images`.

    Raises:
        ValueError: an unknown transform, images of another form, a number p outside [0, 1].
    """
    active = named_transforms(transforms)
    if images.ndim != 4 or images.shape[2] != images.shape[3] or images.shape[2] < _SMALLEST:
        raise InputError(f"images must be [N, C, S, S] with S at least {_SMALLEST}, got {list(images.shape)}")
    if not isinstance(p, Tensor) and not 0 <= p <= 1:
        raise InputError(f"p={p} must be in [0, 1]")
    draws = Draws(images, p, generator)
    if any(name in active for name in BLITTING):
        images = blit(images, draws, active)
    if any(name in active for name in GEOMETRY):
        images = transform_geometry(images, draws, active)
    if any(name in active for name in COLOR):
        images = transform_color(images, draws, active)
    if "imgfilter" in active:
        images = filter_bands(images, draws)
    if "noise" in active:
        images = add_noise(images, draws)
    if "cutout" in active:
        images = cut_out(images, draws)
    return images
