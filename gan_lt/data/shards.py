"""Images in WebDataset shards: tar files in which the files of a sample lie side by side, KEY.jpg, KEY.cls, KEY.json."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.decoding import IMAGE_SUFFIXES
from gan_lt.data.folder import CHECKSUM_BYTES
from gan_lt.data.image_set import require_class_names
from gan_lt.data.labelling import LabelledNames, class_key, folder_around, folder_around_classes, natural_key
from gan_lt.data.pixels import IndexArray
from gan_lt.data.shard_samples import Samples, read_samples
from gan_lt.data.stretch import open_stretch, read_stretch
from gan_lt.data.threads import in_threads
from gan_lt.errors import InputError


class ShardFiles:
    """Encoded images in shards, by position. ``shards``, ``offsets``, ``sizes`` ``[N]`` say where each lies."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        names: tuple[str, ...],
        shards: NDArray[np.int32],
        offsets: IndexArray,
        sizes: IndexArray,
        shown: str,
    ) -> None:
        self.paths, self.names, self.shown = paths, names, shown
        self._shards, self._offsets, self._sizes = shards, offsets, sizes

    def open(self, position: int, *, header: bool = False) -> IO[bytes]:
        stretch = self._stretch(position)
        return open_stretch(*stretch) if header else io.BytesIO(read_stretch(*stretch))

    def where(self, position: int) -> str:
        return f"{self.shown}: image {self.names[position]}"

    def stamps(self, positions: IndexArray) -> NDArray[np.uint64]:
        """CRC-32 of every image, or its size where there are too many to read for that."""
        sizes = self._sizes[positions]
        if sizes.sum() > CHECKSUM_BYTES:
            return sizes.astype(np.uint64)

        def checksums(span: range) -> list[int]:
            chosen = positions[span.start : span.stop].tolist()
            return [zlib.crc32(read_stretch(*self._stretch(position))) for position in chosen]

        try:
            chunks = in_threads(checksums, len(positions))
            return np.array([checksum for chunk in chunks for checksum in chunk], dtype=np.uint64)
        except (OSError, EOFError) as error:
            raise InputError(f"{self.shown}: a shard can't be read any more ({error})") from error

    def _stretch(self, position: int) -> tuple[Path, int, int]:
        path = self.paths[self._shards[position]]
        return path, int(self._offsets[position]), int(self._sizes[position])


def label_shards(paths: tuple[Path, ...], shown: str) -> tuple[ShardFiles, LabelledNames]:
    """The images in the shards, named SHARD/ENTRY, labelled by ``.cls`` or ``.json`` files, otherwise by folder.

    Classes are called as a manifest.json beside the shards says, else as the ``class_name`` of the ``.json`` files that
    hold the labels, else by their numbers; numbers without an image are passed over. Images are ordered by label, then as
    they lie; those labelled by folder as in a folder.

    Only headers and labels are read. Nothing is unpacked.

    Raises:
        InputError: no images, no labels, some of them only; labels that don't fit; a tar that is damaged, cut
            short or holds what is no plain file.
    """
    shard_names = _shard_names(paths)
    samples = Samples()
    for number, path in enumerate(paths):
        read_samples(path, number, shard_names[number], shown, samples)
    n = len(samples.names)
    if n == 0:
        raise InputError(f"{shown}: its shards hold no images: {_NEEDED}")

    labels = np.frombuffer(samples.labels, dtype=np.int64)
    unlabelled = labels < 0
    if unlabelled.all():
        order, class_names, codes = _by_folder(samples, shard_names, shown)
    elif unlabelled.any():
        raise InputError(
            f"{shown}: {unlabelled.sum()} images have no label, the first is {samples.names[int(unlabelled.argmax())]}: "
            f"{_NEEDED}"
        )
    else:
        order = np.argsort(labels, kind="stable")
        present, codes = np.unique(labels[order], return_inverse=True)
        class_names = _class_names(present, paths, samples.class_names, shown)
    files = ShardFiles(
        paths,
        tuple(samples.names[position] for position in order.tolist()),
        np.frombuffer(samples.shards, dtype=np.int32)[order],
        np.frombuffer(samples.offsets, dtype=np.int64)[order],
        np.frombuffer(samples.sizes, dtype=np.int64)[order],
        shown,
    )
    return files, LabelledNames(class_names, files.names, codes.astype(np.int64))


_NEEDED = (
    f"a sample needs KEY.jpg (or {', '.join(sorted(IMAGE_SUFFIXES - {'.jpg'}))}) beside KEY.cls with a class index or KEY.json "
    'with {"label": ...}, or else a folder a class'
)


def _shard_names(paths: Sequence[Path]) -> list[str]:
    """The shards' names; with their folders, as far as these differ."""
    if len({path.parent for path in paths}) == 1:
        return [path.name for path in paths]
    around = folder_around([path.absolute().as_posix() for path in paths])
    return [path.absolute().as_posix().removeprefix(around) for path in paths]


def _by_folder(
    samples: Samples, shard_names: Sequence[str], shown: str
) -> tuple[IndexArray, tuple[str, ...], IndexArray]:
    """Positions of the images, ordered by class; the classes; their codes."""
    shards = np.frombuffer(samples.shards, dtype=np.int32).tolist()
    entries = [name[len(shard_names[shard]) + 1 :] for name, shard in zip(samples.names, shards, strict=True)]
    around = folder_around_classes(entries, (), shown)
    folders = [entry.removeprefix(around).partition("/") for entry in entries]
    inside = [position for position, (_, slash, _) in enumerate(folders) if slash]
    if not inside:
        raise InputError(f"{shown} holds no labelled images: {_NEEDED}")
    if len(inside) < len(folders):
        first = next(position for position, (_, slash, _) in enumerate(folders) if not slash)
        raise InputError(
            f"{shown}: {len(folders) - len(inside)} images have no label and lie beside the folders that others are "
            f"labelled by, the first is {samples.names[first]}: {_NEEDED}"
        )
    class_names = tuple(sorted({folders[position][0] for position in inside}, key=class_key))
    require_class_names(class_names, shown)
    by_class: dict[str, list[int]] = {name: [] for name in class_names}
    for position in inside:
        by_class[folders[position][0]].append(position)
    groups = [sorted(by_class[name], key=lambda at: natural_key(entries[at])) for name in class_names]
    codes = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return np.array([position for group in groups for position in group], dtype=np.int64), class_names, codes


def _class_names(
    present: IndexArray, paths: Sequence[Path], told: dict[int, str], shown: str
) -> tuple[str, ...]:
    labels = present.tolist()
    listed = _manifest_names(paths, shown)
    if listed is not None:
        if labels[-1] >= len(listed):
            raise InputError(
                f"{shown}: label {labels[-1]} is outside the {len(listed)} classes of its manifest.json: correct either"
            )
        names = tuple(listed[label] for label in labels)
    elif all(label in told for label in labels):
        names = tuple(told[label] for label in labels)
    else:
        names = tuple(str(label) for label in labels)
    require_class_names(names, shown)
    return names


def _manifest_names(paths: Sequence[Path], shown: str) -> list[str] | None:
    """The names that a manifest.json beside the shards gives the classes; None without one, or one of another kind."""
    file = paths[0].parent / "manifest.json"
    if len({path.parent for path in paths}) > 1 or not file.is_file():
        return None
    try:
        document = json.loads(file.read_bytes(), object_hook=_without_images)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{shown}: manifest.json can't be read ({error}): write it again") from error
    classes = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(classes, list) or not classes:
        return None
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in classes]
    return [str(name) for name in names] if all(isinstance(name, str) for name in names) else None


def _without_images(found: dict[str, Any]) -> dict[str, Any] | None:
    """Drop the facts of single images while a manifest is read: of a million images they would take a gigabyte."""
    return None if "file" in found else found
