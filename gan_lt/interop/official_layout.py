"""How the official StyleGAN2-ADA release names and shapes its parameters, and what that says of a network's size."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from cuda_ops import setup_filter
from gan_lt.errors import InputError
from gan_lt.models.synthesis import block_channels

Tensors = Mapping[str, Tensor]
# (setting, constructor class in the source) -> value or the official default
Settings = Callable[[str, str, Any], Any]


def official_name(ours: str, resolution: int) -> str:
    """The official name of a parameter of our Generator or Discriminator at this resolution.

    >>> official_name("synthesis.blocks.1.to_image.affine.weight", 16)
    'synthesis.b8.torgb.affine.weight'
    >>> official_name("blocks.0.from_image.bias", 16), official_name("fc.weight", 16)
    ('b16.fromrgb.bias', 'b4.fc.weight')
    """
    name = re.sub(r"^synthesis\.blocks\.(\d+)\.", lambda m: f"synthesis.b{4 << int(m[1])}.", ours)
    name = re.sub(r"^blocks\.(\d+)\.", lambda m: f"b{resolution >> int(m[1])}.", name)
    name = re.sub(r"^(conv|fc|out|from_image)\.", r"b4.\1.", name)
    name = re.sub(r"^mapping\.layers\.(\d+)", r"mapping.fc\1", name)
    return name.replace("to_image", "torgb").replace("from_image", "fromrgb")


def generator_config(tensors: Tensors, settings: Settings, where: str) -> dict[str, Any]:
    """Arguments of `Generator` for official tensors (names without "G.").

    Sizes and architecture are read off the tensors; the settings supply only what tensors don't show.
    """
    sizes = _resolutions(tensors, r"synthesis\.b(\d+)\.conv1\.weight", "G.synthesis.b4.conv1.weight", where)
    affine = _matrix(tensors, "synthesis.b4.conv1.affine.weight", "G.", where)
    w_dim = affine.shape[1]
    channels = {s: _dimension(tensors, f"synthesis.b{s}.conv1.weight", "G.", where, 0) for s in sizes}
    channel_base, channel_max = _channel_limits(channels, settings, "SynthesisNetwork", where)
    first = _matrix(tensors, "mapping.fc0.weight", "G.", where)
    conditional = "mapping.embed.weight" in tensors
    resolution = sizes[-1]
    if f"synthesis.b{resolution}.skip.weight" in tensors:
        architecture = "resnet"
    elif "synthesis.b4.torgb.weight" in tensors:
        architecture = "skip"
    else:
        architecture = "orig"
    return {
        "z_dim": first.shape[1] - (w_dim if conditional else 0),
        "num_classes": _matrix(tensors, "mapping.embed.weight", "G.", where).shape[1] if conditional else 0,
        "w_dim": w_dim,
        "resolution": resolution,
        "img_channels": _dimension(tensors, f"synthesis.b{resolution}.torgb.weight", "G.", where, 0),
        "channel_base": channel_base,
        "channel_max": channel_max,
        "mapping_layers": _mapping_layers(tensors),
        "architecture": architecture,
        "conv_clamp": settings("conv_clamp", "SynthesisBlock", None),
        "w_avg_beta": settings("w_avg_beta", "MappingNetwork", 0.995),
        "noise_inputs": "synthesis.b4.conv1.noise_const" in tensors,
        "mapping_lr_multiplier": settings("lr_multiplier", "MappingNetwork", 0.01),
    }


def discriminator_config(tensors: Tensors, settings: Settings, where: str) -> dict[str, Any]:
    """Arguments of `Discriminator` for official tensors (names without "D.")."""
    last = _dimension(tensors, "b4.conv.weight", "D.", where, 0)
    sizes = [4, *_resolutions(tensors, r"b(\d+)\.conv0\.weight", "D.b8.conv0.weight", where, smallest=8)]
    channels = {s: _dimension(tensors, f"b{s}.conv0.weight", "D.", where, 0) for s in sizes[1:]}
    channel_base, channel_max = _channel_limits({4: last, **channels}, settings, "Discriminator", where)
    resolution = sizes[-1]
    conditional = "mapping.embed.weight" in tensors
    cmap_dim = _dimension(tensors, "b4.out.weight", "D.", where, 0)
    mbstd_channels = _dimension(tensors, "b4.conv.weight", "D.", where, 1) - last
    if mbstd_channels not in (0, 1):
        raise InputError(
            f"{where}: 'D.b4.conv.weight' has {mbstd_channels} minibatch-stddev channels; only 0 or 1 can be imported"
        )
    if f"b{resolution}.skip.weight" in tensors:
        architecture = "resnet"
    elif "b4.fromrgb.weight" in tensors:
        architecture = "skip"
    else:
        architecture = "orig"
    lr_multiplier = settings("lr_multiplier", "MappingNetwork", 0.01)
    if conditional and lr_multiplier != 0.01:
        raise InputError(f"{where}: the discriminator's mapping has lr_multiplier={lr_multiplier}, not 0.01")
    group = settings("mbstd_group_size", "DiscriminatorEpilogue", 4)
    if group is not None and type(group) is not int:
        raise InputError(f"{where}: mbstd_group_size={group} is not a whole number")
    return {
        "num_classes": _matrix(tensors, "mapping.embed.weight", "D.", where).shape[1] if conditional else 0,
        "resolution": resolution,
        "img_channels": _dimension(tensors, f"b{resolution}.fromrgb.weight", "D.", where, 1),
        "channel_base": channel_base,
        "channel_max": channel_max,
        "architecture": architecture,
        "conv_clamp": settings("conv_clamp", "Discriminator", None),
        "mbstd_group_size": group,
        "mbstd_channels": mbstd_channels,
        "cmap_dim": cmap_dim if conditional and cmap_dim != last else None,
        "mapping_layers": _mapping_layers(tensors) if conditional else 8,
    }


def check_filters(tensors: Tensors, prefix: str, where: str) -> None:
    """InputError unless every stored low-pass filter is the one our layers have, [1, 3, 3, 1]."""
    expected = setup_filter([1, 3, 3, 1])
    for name, value in tensors.items():
        if name.endswith("resample_filter") and (
            value.shape != expected.shape or not bool((value.float() - expected).abs().max() < 1e-6)
        ):
            raise InputError(
                f"{where}: {prefix + name!r} is not the filter [1, 3, 3, 1]; such networks can't be imported"
            )


def _tensor(tensors: Tensors, name: str, prefix: str, where: str) -> Tensor:
    if name not in tensors:
        raise InputError(
            f"{where}: lacks the tensor {prefix + name!r}; this is no whole StyleGAN2-ADA network, get the file again"
        )
    return tensors[name]


def _matrix(tensors: Tensors, name: str, prefix: str, where: str) -> Tensor:
    tensor = _tensor(tensors, name, prefix, where)
    if tensor.ndim != 2:
        raise InputError(f"{where}: {prefix + name!r} has shape {list(tensor.shape)}; it must be a matrix")
    return tensor


def _dimension(tensors: Tensors, name: str, prefix: str, where: str, axis: int) -> int:
    shape = _tensor(tensors, name, prefix, where).shape
    if len(shape) <= axis:
        raise InputError(f"{where}: {prefix + name!r} has shape {list(shape)}; it has too few dimensions")
    return shape[axis]


def _resolutions(tensors: Tensors, pattern: str, example: str, where: str, smallest: int = 4) -> list[int]:
    matches = (re.fullmatch(pattern, name) for name in tensors)
    found = sorted(int(match[1]) for match in matches if match)
    if not found:
        raise InputError(f"{where}: lacks the tensor {example!r}; this is no StyleGAN2-ADA network")
    expected = [smallest << i for i in range(len(found))]
    for size, wanted in zip(found, expected, strict=True):
        if size != wanted:
            raise InputError(
                f"{where}: lacks the tensor {example.replace(f'b{smallest}', f'b{wanted}')!r} "
                f"(the layers are at {found}, not at {expected}); get the file again"
            )
    return found


def _channel_limits(
    channels: Mapping[int, int], settings: Settings, owner: str, where: str
) -> tuple[int, int]:
    """(channel_base, channel_max) that give these channels; the file's own where they do."""
    resolution = max(channels)
    said = (settings("channel_base", owner, 32768), settings("channel_max", owner, 512))
    # min(base // r, max) = c means c r <= base at every r: the smallest such base, if there is any
    smallest = (max(size * count for size, count in channels.items()), max(channels.values()))
    for base, limit in (said, smallest):
        if type(base) is type(limit) is int and block_channels(resolution, base, limit) == channels:
            return base, limit
    raise InputError(
        f"{where}: channels {dict(channels)} are no min(channel_base / resolution, channel_max); "
        "only such networks can be imported"
    )


def _mapping_layers(tensors: Tensors) -> int:
    count = 0
    while f"mapping.fc{count}.weight" in tensors:
        count += 1
    return count


def missing_or_unknown(
    expected: Mapping[str, Sequence[int]], tensors: Tensors, prefix: str, where: str
) -> None:
    """InputError naming the first tensor that is missing, of another shape, or in none of our networks.

    Args:
        expected: official name -> official shape, from the network that the configuration gives.
    """
    for name, shape in expected.items():
        found = list(_tensor(tensors, name, prefix, where).shape)
        if found != list(shape):
            raise InputError(
                f"{where}: {prefix + name!r} has shape {found}, but the network's other tensors ask for {list(shape)}"
            )
    for name in tensors:
        if name not in expected and not name.endswith("resample_filter"):
            raise InputError(
                f"{where}: has the tensor {prefix + name!r}, which no StyleGAN2 network of gan_lt has; "
                "its architecture can't be imported"
            )
