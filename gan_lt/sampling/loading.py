"""A generator from whatever a person names: a run, a saved network's folder or its file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.models.pretrained import CONFIG_NAME, WEIGHTS_NAME


def find_network(path: str | os.PathLike[str]) -> Path:
    """The folder of the saved network that `path` names.

    path: a run (its `network/`), a folder with config.json and model.safetensors, or one of these files.

    Raises:
        InputError: nothing of the kind there.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"--network: {path} does not exist; pass a run, or a folder that save_pretrained wrote"
        )
    if path.is_file():
        if path.name not in (CONFIG_NAME, WEIGHTS_NAME):
            raise InputError(
                f"--network: {path} is not a {WEIGHTS_NAME}; pass a run or the folder of a saved network"
            )
        return path.parent
    if (path / CONFIG_NAME).is_file():
        return path
    if (path / "network" / CONFIG_NAME).is_file():
        return path / "network"
    if (path / "config.yaml").is_file():
        raise InputError(
            f"--network: {path} has saved no network yet; train it on with: python train.py --resume {path}"
        )
    raise InputError(
        f"--network: {path} holds no saved network ({CONFIG_NAME} is missing); pass a run or such a folder"
    )


def load_generator(path: str | os.PathLike[str]) -> tuple[Generator, str]:
    """The generator that `path` names, in evaluation mode, and the SHA-256 of its weights file."""
    folder = find_network(path)
    generator = Generator.from_pretrained(folder)
    digest = hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest()
    return generator, digest
