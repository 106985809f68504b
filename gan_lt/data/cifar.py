"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) through torchvision."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from gan_lt.data.decoding import reshape_images
from gan_lt.data.image_set import ImageSet
from gan_lt.data.wording import called
from gan_lt.errors import InputError
from gan_lt.torchvision_compat import import_torchvision

_CLASSES = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def open_cifar(
    name: str,
    split: str,
    resolution: int | None,
    channels: int | None,
    data_root: Path | None,
    option: str | None,
) -> ImageSet:
    """``cifar10`` or ``cifar100``, 32x32 RGB by default; ids are indices of the original order.

    Args:
        split: ``"train"`` (50,000 images) or ``"test"`` (10,000).
        data_root: the folder that holds the downloaded archive or its unpacked folder. Without one,
            torchvision downloads to ``$XDG_CACHE_HOME/gan_lt`` (``~/.cache/gan_lt``).

    Raises:
        InputError: the set is not there and can't be downloaded.
    """
    import_torchvision()
    from torchvision import datasets

    root_option = called("data-root", option=option)
    kind = getattr(datasets, _CLASSES[name])
    if data_root is not None and not data_root.is_dir():
        raise InputError(
            f"{root_option} {data_root} is not a folder: give the one that holds {kind.filename}"
        )
    root = _root(data_root, kind.base_folder, root_option)
    shown = name if option is None else f"{option} {name}"
    original = _load(kind, root, split == "train", shown, called("data-root", "FOLDER", option=option))
    return ImageSet.from_arrays(
        reshape_images(np.asarray(original.data, dtype=np.uint8), resolution, channels or 3),
        np.asarray(original.targets, dtype=np.int64),
        class_names=original.classes,
        name=f"{name}:test" if split == "test" else name,
    )


def _root(data_root: Path | None, unpacked: str, root_option: str) -> Path:
    if data_root is None:
        try:
            return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan_lt"
        except RuntimeError:  # a user whom the system does not know, as in containers
            raise InputError(
                f"{root_option} is missing, and there is no home folder to download to: give the folder that holds {unpacked}"
            ) from None
    # People point at the unpacked folder itself as often as at the one around it.
    return data_root.resolve().parent if data_root.resolve().name == unpacked else data_root


def _load(kind: Any, root: Path, train: bool, shown: str, elsewhere: str) -> Any:
    """elsewhere: how a message calls the setting of another folder."""
    try:
        return kind(root=root, train=train, download=False)
    except RuntimeError:  # torchvision's "not found or corrupted": checksums, before anything is unpickled
        pass
    try:
        root.mkdir(parents=True, exist_ok=True)
        return kind(root=root, train=train, download=True)
    except (OSError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{shown} is not in {root} and could not be downloaded from {kind.url} ({reason}): put "
            f"{kind.filename} into a folder and pass {elsewhere}, or give a folder or zip of images"
        ) from error
