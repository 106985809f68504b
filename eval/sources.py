"""Where images come from: a set on disk, a pair of arrays, a generator sampled on the fly; one interface for
all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from eval.feature_matrix import as_array
from eval.manifest import read_manifest
from gan_lt.data import ImageSet, open_image_set
from gan_lt.data.decoding import require_resolution, reshape_images
from gan_lt.errors import InputError

LabelArray = npt.NDArray[np.int64]
Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ImageSource:
    """Labelled uint8 images, read on demand.

    Attributes:
        name: what messages and the report call it.
        kind: "set", "arrays" or "generator".
        class_names: K names; None for arrays, whose labels are indices into the other side's classes.
        labels: int64 [n].
        channels, resolution: 1 or 3; height and width in pixels.
        read: indices [m] to images [m, C, H, W].
        fingerprint: hexadecimal digest of everything that decides the images.
        train_counts: training images a class, by name, where the source knows them.
        not_asked: classes without images that nobody asked for, as a set made to top up others says.
        n_copied: copies of real images that lay beside the made ones and are left out.
    """

    name: str
    kind: str
    class_names: tuple[str, ...] | None
    labels: LabelArray
    channels: int
    resolution: int
    read: Callable[[npt.NDArray[np.int64]], Images]
    fingerprint: Callable[[], str]
    train_counts: Mapping[str, int] | None = None
    not_asked: tuple[str, ...] = ()
    n_copied: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        if self.class_names is not None:
            return len(self.class_names)
        return int(self.labels.max()) + 1

    @property
    def counts(self) -> LabelArray:
        """Images a class, int64 [K]."""
        return np.bincount(self.labels, minlength=self.num_classes).astype(np.int64)

    def of_class(self, index: int) -> LabelArray:
        """Positions of the images of one class."""
        return np.flatnonzero(self.labels == index).astype(np.int64)

    def subset(self, positions: npt.NDArray[np.int64], labels: LabelArray | None = None) -> ImageSource:
        """The images at `positions`, in that order, with new labels if given."""
        read, fingerprint = self.read, self.fingerprint

        def digest() -> str:
            return hashlib.sha256(fingerprint().encode() + positions.astype("<i8").tobytes()).hexdigest()

        return replace(
            self,
            labels=self.labels[positions] if labels is None else labels,
            read=lambda indices: read(positions[indices]),
            fingerprint=digest,
        )

    def without(self, left_out: npt.NDArray[np.bool_]) -> ImageSource:
        """All images but those of the mask [n]; itself where that leaves out none."""
        return self.subset(np.flatnonzero(~left_out).astype(np.int64)) if left_out.any() else self


@dataclass(frozen=True)
class SourceOptions:
    """How to open a source.

    split: which part of a named data set; num_fake: images a class from a generator (None: as many as the
    reference has); seed, truncation_psi: for a generator; made_only: leave out what a synthetic set's manifest
    calls copies of real images.
    """

    option: str
    split: Literal["train", "test"] = "test"
    data_root: Path | None = None
    resolution: int | None = None
    num_fake: int | None = None
    seed: int = 0
    truncation_psi: float = 1.0
    made_only: bool = False


def open_source(spec: Any, options: SourceOptions, reference: ImageSource | None = None) -> ImageSource:
    """Open a path, a data set's name, a pair (uint8 images, labels) or a generator.

    Raises InputError for what is none of these, or can't be read.
    """
    if isinstance(spec, ImageSource):
        return spec
    if isinstance(spec, (str, Path)):
        from eval.generator_source import generator_folder, open_generator

        network = generator_folder(Path(spec))
        if network is not None:
            return open_generator(network, str(spec), options, reference)
        return _open_set(spec, options)
    if isinstance(spec, (tuple, list)) and len(spec) == 2:
        return from_arrays(spec[0], spec[1], f"{options.option.lstrip('-')} arrays")
    raise InputError(
        f"{options.option} is of type {type(spec).__name__}; give a path, a data set's name or a pair "
        "(uint8 images, labels)"
    )


def at_resolution(source: ImageSource, resolution: int | None) -> ImageSource:
    """The source with its images resized as those of a set are, where they are of another size."""
    if resolution is None or resolution == source.resolution:
        return source
    size = require_resolution(resolution)
    read, fingerprint = source.read, source.fingerprint

    def resized(indices: npt.NDArray[np.int64]) -> Images:
        images = read(indices)
        rgb = np.broadcast_to(images, (len(images), 3, *images.shape[2:]))
        return reshape_images(np.ascontiguousarray(rgb.transpose(0, 2, 3, 1)), size, source.channels)

    def digest() -> str:
        return hashlib.sha256(f"{fingerprint()} {size}".encode()).hexdigest()

    return replace(source, resolution=size, read=resized, fingerprint=digest)


def from_arrays(images: Any, labels: Any, name: str) -> ImageSource:
    """A source from uint8 images [n, C, H, W], [n, H, W, C] or [n, H, W] (C of 1 or 3) and integer labels
    [n].

    The last axis is taken for channels when it is 1 or 3 and the second is not. Raises InputError otherwise.
    """
    pixels = _channels_first(as_array(images, f"the images of {name}"), name)
    classes = as_array(labels, f"the labels of {name}")
    if classes.dtype.kind not in "iu" or classes.shape != (len(pixels),):
        raise InputError(
            f"{name}: labels have dtype {classes.dtype} and shape {classes.shape}; they must be "
            f"{len(pixels)} integers"
        )
    classes = classes.astype(np.int64)
    if len(classes) == 0:
        raise InputError(f"{name} holds 0 images; give at least 2 a class")
    if classes.min() < 0:
        raise InputError(f"{name}: label {int(classes.min())} is negative; labels are class indices from 0")

    def digest() -> str:
        state = hashlib.sha256(str(pixels.shape).encode())
        state.update(np.ascontiguousarray(pixels).tobytes())
        state.update(classes.tobytes())
        return state.hexdigest()

    return ImageSource(
        name=name,
        kind="arrays",
        class_names=None,
        labels=classes,
        channels=pixels.shape[1],
        resolution=pixels.shape[2],
        read=lambda indices: np.ascontiguousarray(pixels[indices]),
        fingerprint=digest,
    )


def _channels_first(images: npt.NDArray[Any], name: str) -> Images:
    if images.dtype != np.uint8:
        raise InputError(f"{name}: images have dtype {images.dtype}; they must be uint8 in [0, 255]")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4:
        raise InputError(
            f"{name}: images have shape {images.shape}; they must be [n, C, H, W] or [n, H, W, C]"
        )
    if images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.shape[1] not in (1, 3):
        raise InputError(f"{name}: images have shape {images.shape}; the number of channels must be 1 or 3")
    if images.shape[2] != images.shape[3]:
        raise InputError(f"{name}: images are {images.shape[2]}x{images.shape[3]}; they must be square")
    return images


def _open_set(spec: str | Path, options: SourceOptions) -> ImageSource:
    images = open_image_set(
        spec,
        resolution=options.resolution,
        split=options.split,
        data_root=options.data_root,
        any_size=True,
        option=options.option,
    )
    manifest = read_manifest(Path(os.path.expanduser(spec)))
    if manifest is None:
        return source_of_set(images, str(spec))
    counts = manifest.real if set(images.class_names) <= set(manifest.real) else None
    n_copied = 0
    if options.made_only and manifest.copied:
        made = np.array([name not in manifest.copied for name in images.ids])
        n_copied = int((~made).sum())
        if n_copied == len(images):
            raise InputError(
                f"{options.option} {spec} holds copies of real images alone; make some images first"
            )
        images = images.subset(made)
    empty = {name for name, count in zip(images.class_names, images.counts, strict=True) if count == 0}
    # a class without images has no folder, or one of copies alone
    idle = tuple(name for name in manifest.not_asked if name in empty or name not in images.class_names)
    return replace(source_of_set(images, str(spec), counts), not_asked=idle, n_copied=n_copied)


def source_of_set(images: ImageSet, name: str, train_counts: Mapping[str, int] | None = None) -> ImageSource:
    """A source from an open ImageSet."""
    return ImageSource(
        name=name,
        kind="set",
        class_names=tuple(images.class_names),
        labels=images.labels,
        channels=images.channels,
        resolution=images.resolution,
        read=images.images,
        fingerprint=images.fingerprint,
        train_counts=train_counts,
    )
