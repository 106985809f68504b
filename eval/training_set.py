"""The images a run was trained on, opened again from its config.yaml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from eval.sources import ImageSource, source_of_set
from gan_lt.errors import InputError


def run_folder(spec: Any) -> Path | None:
    """The run that `spec` names, or None if it names anything else."""
    if isinstance(spec, (str, Path)) and os.path.isfile(Path(spec) / "config.yaml"):
        return Path(spec)
    return None


def training_set_of_run(run: Path) -> ImageSource:
    """The training images of a run: the same set, thinned out with the same seed.

    Raises InputError if the configuration or the data can't be read.
    """
    from gan_lt.config import read_yaml, validate
    from gan_lt.data import open_image_set, thin_to_long_tail

    where = run / "config.yaml"
    data = validate(read_yaml(where), f"{where}: ").data
    if data.path is None:
        raise InputError(f"{where}: data.path is not set; give the training images with --train")
    images = open_image_set(
        data.path,
        resolution=data.resolution,
        channels=data.channels,
        split="train",
        data_root=None if data.root is None else Path(data.root),
        skip_corrupt=data.skip_corrupt,
        option=f"{where}: data.path",
    )
    if data.imbalance is not None:
        images = thin_to_long_tail(images, data.imbalance, data.profile, data.thinning_seed)
    return source_of_set(images, f"the training set of {run}")
