"""Synthetic sets on disk: class folders or a zip, with a manifest; complete or not there at all."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling.images import CHUNK, sample_images
from gan_lt.sampling.plan import SamplingPlan, image_seeds
from gan_lt.version import __version__

# images in memory between sampling and writing
_BLOCK = 8 * CHUNK

SetFormat = Literal["folder", "zip"]


def write_synthetic_set(
    generator: Generator,
    plan: SamplingPlan,
    out: Path,
    *,
    seed: int = 0,
    truncation_psi: float = 1.0,
    network_sha256: str = "",
    set_format: SetFormat = "folder",
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Sample what the plan asks for and write it with manifest.json. The same arguments give the same bytes.

    Args:
        generator: in evaluation mode. plan: images of every class.
        out: the folder (class sub-folders inside), or the .zip, to make; must not exist, or be an empty folder.
        seed: from 0; see `image_seeds`. truncation_psi: 1 is the full distribution.
        network_sha256: goes into the manifest. set_format: "folder" or "zip".
        progress: called with the number of images just written.

    Raises:
        InputError: `out` exists already or can't be written; nothing is left behind.
    """
    if not 0 <= truncation_psi <= 2:
        raise InputError(f"--truncation: {truncation_psi} must be from 0 to 2; 1 is the full distribution")
    if out.exists() and not (set_format == "folder" and out.is_dir() and not any(out.iterdir())):
        raise InputError(f"--outdir: {out} exists already; choose another name, or remove it")
    labels, indices = plan.labels, plan.indices
    if not len(labels):
        raise InputError("there is nothing to make: every class has as many images as asked for")
    seeds = image_seeds(seed, labels, indices)
    names = [
        f"{plan.class_names[k]}/{i:06d}.png" for k, i in zip(labels.tolist(), indices.tolist(), strict=True)
    ]
    manifest = {
        "gan_lt": __version__,
        "network_sha256": network_sha256,
        "seed": seed,
        "truncation_psi": truncation_psi,
        "noise_mode": "const",
        "resolution": generator.resolution,
        "classes": [
            {
                "name": name,
                "real": None if plan.real_counts is None else plan.real_counts[k],
                "made": int(plan.counts[k]),
                "refused": 0,
            }
            for k, name in enumerate(plan.class_names)
        ],
        "images": [
            {"file": name, "class": plan.class_names[k], "seed": s, "truncation_psi": truncation_psi}
            for name, k, s in zip(names, labels.tolist(), seeds.tolist(), strict=True)
        ],
    }
    temporary = out.parent / f".{out.name}.partial-{os.getpid()}"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        files = _encoded(generator, labels, seeds, names, truncation_psi)
        if set_format == "zip":
            _write_zip(temporary, files, plan, names, labels, manifest, progress)
        else:
            _write_folder(temporary, files, plan, manifest, progress)
            if out.exists():
                out.rmdir()
        os.replace(temporary, out)
    except OSError as error:
        raise InputError(
            f"--outdir: {out} can't be written ({error.strerror or error}); free some space or choose another folder"
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        elif temporary.exists():
            temporary.unlink()


def _encoded(
    generator: Generator,
    labels: NDArray[np.int64],
    seeds: NDArray[np.int64],
    names: list[str],
    truncation_psi: float,
) -> Iterator[tuple[str, bytes]]:
    """(file name, PNG) of every image, in order; a block is encoded by threads while the next is sampled."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        waiting: list[tuple[str, Any]] = []
        for start in range(0, len(labels), _BLOCK):
            block = slice(start, start + _BLOCK)
            images = sample_images(generator, labels[block], seeds[block], truncation_psi)
            encoded = [
                (name, pool.submit(_png, image)) for name, image in zip(names[block], images, strict=True)
            ]
            yield from ((name, future.result()) for name, future in waiting)
            waiting = encoded
        yield from ((name, future.result()) for name, future in waiting)


def _png(image: NDArray[np.uint8]) -> bytes:
    pixels = image[0] if image.shape[0] == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _write_folder(
    folder: Path,
    files: Iterator[tuple[str, bytes]],
    plan: SamplingPlan,
    manifest: dict[str, Any],
    progress: Callable[[int], None],
) -> None:
    for name, count in zip(plan.class_names, plan.counts, strict=True):
        if count:
            (folder / name).mkdir(parents=True)
    for name, data in files:
        (folder / name).write_bytes(data)
        progress(1)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _write_zip(
    path: Path,
    files: Iterator[tuple[str, bytes]],
    plan: SamplingPlan,
    names: list[str],
    labels: NDArray[np.int64],
    manifest: dict[str, Any],
    progress: Callable[[int], None],
) -> None:
    # labels of the zip count the classes that have images: readers take a class without images for an error
    present = [k for k, count in enumerate(plan.counts) if count]
    position = {k: i for i, k in enumerate(present)}
    description = {
        "labels": [[name, position[k]] for name, k in zip(names, labels.tolist(), strict=True)],
        "class_names": [plan.class_names[k] for k in present],
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            archive.writestr(_entry(name), data)
            progress(1)
        archive.writestr(_entry("dataset.json"), json.dumps(description))
        archive.writestr(_entry("manifest.json"), json.dumps(manifest, indent=1) + "\n")


def _entry(name: str) -> zipfile.ZipInfo:
    """A zip entry with a fixed date: the same images give the same bytes."""
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
