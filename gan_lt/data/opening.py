"""open_image_set: the one way from what a user typed after --data to an ImageSet."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.archive import label_zip
from gan_lt.data.cifar import open_cifar
from gan_lt.data.decoding import (
    MAX_RESOLUTION,
    MIN_RESOLUTION,
    require_resolution,
)
from gan_lt.data.digits import open_digits
from gan_lt.data.folder import label_folder
from gan_lt.data.image_set import IN_MEMORY_BYTES, ImageSet
from gan_lt.data.labelling import LabelledNames, require_all_classes
from gan_lt.data.lists import is_list, label_list
from gan_lt.data.pixels import ArrayPixels, EncodedPixels, ImageFiles, scan_headers
from gan_lt.data.shard_paths import shard_paths
from gan_lt.data.shards import label_shards
from gan_lt.data.wording import called
from gan_lt.errors import InputError

NAMED_SETS = ("digits", "cifar10", "cifar100")
SPLITS = ("train", "test")
Split = Literal["train", "test"]

_logger = logging.getLogger(__name__)
_LISTED = 10  # skipped images that a warning names
_BLOCK = 1024  # images decoded at a time where a large set is only checked


def open_image_set(
    spec: str | Path,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    split: Split = "train",
    data_root: Path | None = None,
    skip_corrupt: bool = False,
    any_size: bool = False,
    option: str | None = None,
) -> ImageSet:
    """Open labelled images.

    ``spec`` is one of

    - a folder with a sub-folder for every class, or with images and a ``dataset.json``;
    - a zip with ``dataset.json`` in StyleGAN's form (optionally with ``class_names``), or of class folders;
    - WebDataset shards: a folder of tar files, one of them, or a pattern such as ``train-{000000..000009}.tar``;
    - a list: a ``.txt`` with lines ``path label``, or COCO annotations in a ``.json``;
    - ``digits``, ``cifar10`` or ``cifar100``; ``digits:test`` picks a split, ``./digits`` a folder,
      and so does every ``Path``.

    Sets of up to 2 GiB, decoded, are decoded here, once; larger ones on demand. Classes of folders are in the
    natural order of their names, images in that of theirs.

    Args:
        resolution: a power of two, 8 to 1024: the centred square of every image is resized to it (see
            ``decode_image``). By default the images' own size, which must then be one such size for all.
        channels: 1 (gray) or 3 (RGB); by default 3 if any image has colour.
        split: which part of a named set; folders and zips are one part, and always opened whole.
        data_root: where a copy of CIFAR lies on disk; for a list, the folder that its paths start from (by default
            the list's own).
        skip_corrupt: leave out images that can't be decoded, list them in ``skipped`` and log a warning. All
            images are then decoded once here, however many they are.
        any_size: without a ``resolution``, accept any square size that all images share.
        option: the command-line option that ``spec`` came from, for messages; None: these name the arguments instead.

    Raises:
        InputError: an empty ``spec``, nothing there, no labels, an empty class, a corrupt image, sizes that differ: one line
            that names the file, the value and the remedy.
    """
    if resolution is not None:
        resolution = require_resolution(resolution, called("resolution", option=option))
    if channels not in (None, 1, 3):
        raise InputError(f"channels {channels} is not possible: it must be 1 (gray) or 3 (RGB)")
    channels = None if channels is None else int(channels)
    if spec == "":
        raise InputError(
            f"{option or 'spec'} is empty: give a folder, a zip, a list, or one of {', '.join(NAMED_SETS)}"
        )
    name, part = _named_set(spec, split, option)
    if name == "digits":
        return open_digits(part, resolution, channels)
    if name is not None:
        return open_cifar(name, part, resolution, channels, data_root, option)

    path = Path(os.path.expanduser(spec))
    shown = str(spec) if option is None else f"{option} {spec}"
    files, labelled = _label(path, data_root, shown, option)
    return _image_set(
        path.resolve().stem if not os.path.isdir(path) else path.resolve().name,
        files,
        labelled,
        shown,
        resolution=resolution,
        channels=channels,
        skip_corrupt=skip_corrupt,
        any_size=any_size,
        resize=called("resolution", "N", option=option),
    )


def is_named(spec: str) -> bool:
    """Whether `spec` names a set that we know, with or without a split, rather than a path."""
    return spec.partition(":")[0] in NAMED_SETS


def _named_set(spec: str | Path, split: str, option: str | None) -> tuple[str | None, str]:
    if split not in SPLITS:
        raise InputError(f"split {split!r} is not known: it must be 'train' or 'test'")
    # a Path is one: Path("./digits") is equal to Path("digits")
    name, colon, suffix = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if name not in NAMED_SETS:
        return None, split
    if colon and suffix not in SPLITS:
        shown = spec if option is None else f"{option} {spec}"
        raise InputError(f"{shown}: split {suffix!r} is not known, write {name}:train or {name}:test")
    return name, suffix if colon else split


def _label(
    path: Path, data_root: Path | None, shown: str, option: str | None
) -> tuple[ImageFiles, LabelledNames]:
    shards = shard_paths(path, shown)
    if shards is not None:
        return label_shards(shards, shown)
    # os.path, since Path raises for what can't be looked at: a name too long, a folder of someone else's
    if os.path.isdir(path):
        return label_folder(path, shown)
    if os.path.isfile(path):
        if is_list(path):
            return label_list(path, data_root or path.parent, shown, called("data-root", option=option))
        return label_zip(path, shown)
    raise InputError(
        f"{shown}: no such file or folder: it may be a folder with a sub-folder for every class, a zip with "
        f"dataset.json, WebDataset shards, a list, or one of {', '.join(NAMED_SETS)}"
    )


def _image_set(
    name: str,
    files: ImageFiles,
    labelled: LabelledNames,
    shown: str,
    *,
    resolution: int | None,
    channels: int | None,
    skip_corrupt: bool,
    any_size: bool,
    resize: str,
) -> ImageSet:
    """resize: how a message calls the setting that brings all images to one size."""
    headers = scan_headers(files, len(labelled.names))
    if headers.corrupt and not skip_corrupt:
        raise headers.corrupt[min(headers.corrupt)]
    names, labels, positions = labelled.names, labelled.labels, np.arange(len(labelled.names))
    skipped = tuple(names[position] for position in sorted(headers.corrupt))
    if skipped:
        positions = np.delete(positions, list(headers.corrupt))
        names = tuple(names[position] for position in positions.tolist())
        labels = labels[positions]
        require_all_classes(labelled.class_names, labels, f"{shown} without its corrupt images")

    if resolution is None:
        resolution = _own_resolution(headers.sizes[positions], names, shown, any_size, resize)
    if channels is None:
        channels = 3 if headers.is_colour.any() else 1
    encoded = EncodedPixels(files, positions, resolution, channels)
    image_set = ImageSet(
        name=name,
        class_names=labelled.class_names,
        labels=labels,
        ids=names,
        resolution=resolution,
        channels=channels,
        pixels=encoded,
        skipped=skipped,
    )
    if skip_corrupt:
        return _without_corrupt(image_set, encoded, shown)
    return image_set.materialize() if image_set.decoded_bytes <= IN_MEMORY_BYTES else image_set


def _own_resolution(
    sizes: NDArray[np.int32], names: Sequence[str], shown: str, any_size: bool, resize: str
) -> int:
    """The one size that all images have."""
    width, height = sizes[0].tolist()
    other = int((sizes != sizes[0]).any(axis=1).argmax())
    if other:
        raise InputError(
            f"{shown}: images differ in size, {names[0]} is {width}x{height} and {names[other]} is "
            f"{sizes[other, 0]}x{sizes[other, 1]}: pass {resize} to crop and resize them all"
        )
    size = f"{width}x{height}"
    if width != height:
        raise InputError(f"{shown}: {names[0]} is {size}, not square: pass {resize} to crop and resize")
    power_of_two = width & (width - 1) == 0 and MIN_RESOLUTION <= width <= MAX_RESOLUTION
    if not power_of_two and not any_size:
        raise InputError(
            f"{shown}: images are {size} and must be a power of two from {MIN_RESOLUTION} to "
            f"{MAX_RESOLUTION} pixels wide: pass {resize} to resize them"
        )
    return int(width)


def _without_corrupt(image_set: ImageSet, encoded: EncodedPixels, shown: str) -> ImageSet:
    """The set without the images that can't be decoded, each listed in ``skipped`` and in one warning."""
    keep = np.ones(len(image_set), dtype=bool)
    blocks = []
    for start in range(0, len(image_set), _BLOCK):
        indices = np.arange(start, min(start + _BLOCK, len(image_set)))
        pixels, corrupt, _ = encoded.read_whole(indices)
        keep[indices[corrupt]] = False
        if image_set.decoded_bytes <= IN_MEMORY_BYTES:
            blocks.append(pixels)
    skipped = (*image_set.skipped, *(image_set.ids[index] for index in np.flatnonzero(~keep)))
    kept = replace(image_set.subset(keep), skipped=skipped)
    require_all_classes(kept.class_names, kept.labels, f"{shown} without its corrupt images")
    if skipped:
        listed = ", ".join(skipped[:_LISTED]) + (", ..." if len(skipped) > _LISTED else "")
        _logger.warning("%s: left out %d corrupt images: %s", shown, len(skipped), listed)
    return replace(kept, pixels=ArrayPixels(np.concatenate(blocks), origin=kept.pixels)) if blocks else kept
