"""A saved generator, or the run that holds one, as a source: its images are made when they are read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eval.sources import Images, ImageSource, SourceOptions
from gan_lt.class_names import all_composed
from gan_lt.errors import InputError


def generator_folder(path: Path) -> Path | None:
    """The folder of the saved generator, if `path` is one or is a run that holds one; otherwise None."""
    for folder in (path, path / "network"):
        # os.path, since Path raises where the name is too long, as a pattern of shards may be
        if all(os.path.isfile(folder / name) for name in ("config.json", "model.safetensors")):
            return folder
    if all(os.path.isfile(path / name) for name in ("config.yaml", "stats.jsonl")):
        raise InputError(
            f"{path} is a run without a network yet; wait for its first snapshot or give a saved generator"
        )
    return None


def open_generator(
    folder: Path, spec: str, options: SourceOptions, reference: ImageSource | None
) -> ImageSource:
    """Source of images sampled on the fly: options.num_fake of each class, or as many as the reference has.

    Raises InputError for a generator without classes, or where nothing says how many images to sample.
    """
    from gan_lt.models import Generator
    from gan_lt.sampling import sample_images

    generator = Generator.from_pretrained(folder)
    if generator.num_classes == 0:  # a run saves its data's class names with it all the same
        raise InputError(
            f"{spec}: the generator has no classes; give a folder of its images sorted by a classifier"
        )
    class_names = all_composed(generator.class_names)
    counts = _images_wanted(spec, class_names, options.num_fake, reference)
    labels = np.repeat(np.arange(len(class_names), dtype=np.int64), counts)
    # a class's i-th image depends on seed, class and i alone, so asking for more keeps those already there
    within = np.concatenate([np.arange(count, dtype=np.int64) for count in counts])
    seeds = within * len(class_names) + labels + options.seed * 1_000_003

    def read(indices: npt.NDArray[np.int64]) -> Images:
        images: Images = sample_images(
            generator,
            labels[indices],
            seeds[indices],
            truncation_psi=options.truncation_psi,
        )
        return images

    def digest() -> str:
        state = hashlib.sha256()
        for file in (folder / "config.json", folder / "model.safetensors"):
            with file.open("rb") as stream:
                state.update(hashlib.file_digest(stream, "sha256").digest())
        state.update(labels.tobytes())
        state.update(seeds.tobytes())
        state.update(repr(options.truncation_psi).encode())
        return state.hexdigest()

    probe = read(np.zeros(1, dtype=np.int64))
    known = generator.class_counts
    return ImageSource(
        name=spec,
        kind="generator",
        class_names=class_names,
        labels=labels,
        channels=probe.shape[1],
        resolution=probe.shape[2],
        read=read,
        fingerprint=digest,
        train_counts=dict(zip(class_names, map(int, known), strict=True)) if known else None,
    )


def _images_wanted(
    spec: str, class_names: tuple[str, ...], num_fake: int | None, reference: ImageSource | None
) -> list[int]:
    if num_fake is not None:
        if num_fake < 2:
            raise InputError(f"--num-fake is {num_fake}; at least 2 images a class are needed")
        return [num_fake] * len(class_names)
    if reference is None:
        raise InputError(f"{spec} is a generator: say with --num-fake how many images a class to sample")
    largest = int(reference.counts.max())
    if reference.class_names is None:
        return [largest] * len(class_names)
    by_name = dict(zip(reference.class_names, reference.counts.tolist(), strict=True))
    return [max(2, by_name.get(name, 2)) for name in class_names]
