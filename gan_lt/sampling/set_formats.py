"""The forms of a synthetic set on disk: class folders, a zip, WebDataset shards. Each is filled unit by unit, in any order.

A unit is a run of images that is saved at once. What is saved stays when the process is killed, so a form can tell
which images are still to be made.
"""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gan_lt.sampling.contents import SetContents
from gan_lt.sampling.unfinished import write_whole

SetFormat = Literal["folder", "zip", "webdataset"]
SHARD_IMAGES = 10_000

Positions = NDArray[np.int64]


class SetInTheMaking(Protocol):
    """A set being filled: `files` are the names of its images, in the order of its contents."""

    files: tuple[str, ...]

    def missing(self, unit: range) -> Positions:
        """The positions in the unit that are not saved yet."""

    def save(self, unit: range, positions: Sequence[int], encoded: Sequence[bytes]) -> None:
        """Keep the encoded images at these positions of the unit."""

    def complete(self, manifest: dict[str, Any], out: Path) -> None:
        """Everything is saved: make `out` appear, whole."""


class ClassFolders:
    """CLASS/000000.png ... and manifest.json."""

    def __init__(self, work: Path, contents: SetContents, suffix: str) -> None:
        self.files = tuple(f"{stem}.{suffix}" for stem in contents.stems)
        self._root = work / "set"
        self._there: set[str] = set()
        for name in {stem.partition("/")[0] for stem in contents.stems}:
            folder = self._root / name
            folder.mkdir(parents=True, exist_ok=True)
            # after a power loss a name may be there without its bytes
            self._there.update(
                f"{name}/{entry.name}"
                for entry in os.scandir(folder)
                if not entry.name.startswith(".") and entry.stat().st_size
            )

    def missing(self, unit: range) -> Positions:
        return np.array([i for i in unit if self.files[i] not in self._there], dtype=np.int64)

    def save(self, unit: range, positions: Sequence[int], encoded: Sequence[bytes]) -> None:
        for position, data in zip(positions, encoded, strict=True):
            write_whole(f"{self._root}/{self.files[position]}", data)

    def complete(self, manifest: dict[str, Any], out: Path) -> None:
        for folder in self._root.iterdir():
            if folder.is_dir():
                for torn in folder.glob(".*.writing"):
                    torn.unlink()
        write_whole(self._root / "manifest.json", _json(manifest))
        if out.is_dir():
            out.rmdir()
        os.replace(self._root, out)


def _exactly(file: IO[bytes], size: int) -> bytes:
    """So many bytes from here; an unbuffered read may bring fewer."""
    parts: list[bytes] = []
    while size > 0:
        part = file.read(size)
        if not part:
            raise OSError(errno.EIO, "a unit of encoded images is too short", file.name)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class _EncodedUnits:
    """Encoded images in one file a unit: their sizes, then their bytes. A zip and shards are put together from them."""

    def __init__(self, work: Path) -> None:
        self._root = work / "units"
        self._root.mkdir(exist_ok=True)
        self._sizes = {
            entry.name: entry.stat().st_size
            for entry in os.scandir(self._root)
            if not entry.name.startswith(".")
        }
        self._starts: dict[int, NDArray[np.int64]] = {}

    def missing(self, unit: range) -> Positions:
        return np.array([] if self._is_whole(unit) else unit, dtype=np.int64)

    def _is_whole(self, unit: range) -> bool:
        """Whether the unit is saved; after a power loss a name may be there without its bytes."""
        size = self._sizes.get(self._name(unit), 0)
        if size < 8 * len(unit):
            return False
        with open(self._root / self._name(unit), "rb") as file:
            sizes = np.frombuffer(file.read(8 * len(unit)), dtype="<i8")
        return size == 8 * len(unit) + int(sizes.sum())

    def save(self, unit: range, encoded: Sequence[bytes]) -> None:
        sizes = np.array([len(data) for data in encoded], dtype="<i8").tobytes()
        write_whole(self._root / self._name(unit), b"".join([sizes, *encoded]))

    def images(self, unit: range) -> Iterator[bytes]:
        data = (self._root / self._name(unit)).read_bytes()
        ends = np.cumsum(np.frombuffer(data[: 8 * len(unit)], dtype="<i8")) + 8 * len(unit)
        starts = np.concatenate([[8 * len(unit)], ends[:-1]])
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            yield data[start:end]

    def chosen(self, unit: range, positions: Positions) -> Iterator[bytes]:
        """The images at these positions of the unit; of its file, nothing else is read but, once, the sizes."""
        with open(self._root / self._name(unit), "rb", buffering=0) as file:
            if unit.start not in self._starts:
                sizes = np.frombuffer(_exactly(file, 8 * len(unit)), dtype="<i8")
                self._starts[unit.start] = 8 * len(unit) + np.concatenate([[0], np.cumsum(sizes)])
            starts = self._starts[unit.start]
            for i in (positions - unit.start).tolist():
                file.seek(int(starts[i]))
                yield _exactly(file, int(starts[i + 1] - starts[i]))

    @staticmethod
    def _name(unit: range) -> str:
        return f"{unit.start:09d}"


class StyleGANZip:
    """CLASS/000000.png ..., dataset.json and manifest.json in one zip, images stored as they are."""

    def __init__(self, work: Path, contents: SetContents, suffix: str, units: Sequence[range]) -> None:
        self.files = tuple(f"{stem}.{suffix}" for stem in contents.stems)
        self._work, self._contents, self._all_units = work, contents, units
        self._units = _EncodedUnits(work)

    def missing(self, unit: range) -> Positions:
        return self._units.missing(unit)

    def save(self, unit: range, positions: Sequence[int], encoded: Sequence[bytes]) -> None:
        self._units.save(unit, encoded)

    def complete(self, manifest: dict[str, Any], out: Path) -> None:
        temporary = self._work / "zip"
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for unit in self._all_units:
                for position, data in zip(unit, self._units.images(unit), strict=True):
                    archive.writestr(_entry(self.files[position]), data)
            archive.writestr(_entry("dataset.json"), json.dumps(self._description()))
            archive.writestr(_entry("manifest.json"), _json(manifest))
        os.replace(temporary, out)

    def _description(self) -> dict[str, Any]:
        # labels of the zip count the classes that have images: readers take a class without images for an error
        present = np.flatnonzero(self._contents.counts).tolist()
        position = {k: i for i, k in enumerate(present)}
        labels = self._contents.labels.tolist()
        return {
            "labels": [[name, position[k]] for name, k in zip(self.files, labels, strict=True)],
            "class_names": [self._contents.class_names[k] for k in present],
        }


class WebDatasetShards:
    """shard-000000.tar ... of up to `shard_images` samples, each an image, its class index and its facts; manifest.json.

    Readers take shards in order, so the images are dealt out to them in a seeded random order, not class by class.
    A sample's key is its position in that order.
    """

    def __init__(
        self,
        work: Path,
        contents: SetContents,
        suffix: str,
        units: Sequence[range],
        shard_images: int,
        seed: int,
    ) -> None:
        self._work, self._contents, self._all_units = work, contents, units
        self._suffix, self._shard_images = suffix, shard_images
        self._order = np.random.default_rng(seed).permutation(len(contents))
        place = np.empty(len(contents), dtype=np.int64)
        place[self._order] = np.arange(len(contents))
        self._keys = [f"{key:09d}" for key in place.tolist()]
        self.files = tuple(
            f"{self._shard(key)}/{key:09d}.{suffix}" for key in place.tolist()
        )  # image in its shard
        self._units = _EncodedUnits(work)

    def _shard(self, key: int) -> str:
        return f"shard-{key // self._shard_images:06d}.tar"

    def missing(self, unit: range) -> Positions:
        return self._units.missing(unit)

    def save(self, unit: range, positions: Sequence[int], encoded: Sequence[bytes]) -> None:
        self._units.save(unit, encoded)

    def complete(self, manifest: dict[str, Any], out: Path) -> None:
        root = self._work / "shards"
        root.mkdir(exist_ok=True)
        for start in range(0, len(self._order), self._shard_images):
            dealt = self._order[start : start + self._shard_images]
            images = self._read(np.sort(dealt))
            with tarfile.open(root / self._shard(start), "w", format=tarfile.USTAR_FORMAT) as shard:
                for position in dealt.tolist():
                    label = int(self._contents.labels[position])
                    facts = {k: v for k, v in manifest["images"][position].items() if k != "file"}
                    for kind, data in (
                        (self._suffix, images[position]),
                        ("cls", str(label).encode()),
                        ("json", json.dumps(facts).encode()),
                    ):
                        # a TarInfo has no date and no owner unless told: the same images give the same bytes
                        member = tarfile.TarInfo(f"{self._keys[position]}.{kind}")
                        member.size = len(data)
                        shard.addfile(member, io.BytesIO(data))
        (root / "manifest.json").write_bytes(_json(manifest))
        if out.is_dir():
            out.rmdir()
        os.replace(root, out)

    def _read(self, positions: Positions) -> dict[int, bytes]:
        """Encoded images by position, of a shard's worth of positions in ascending order."""
        found: dict[int, bytes] = {}
        firsts = np.searchsorted(positions, [unit.start for unit in self._all_units])
        for unit, here in zip(self._all_units, np.split(positions, firsts[1:]), strict=True):
            if len(here):
                found.update(zip(here.tolist(), self._units.chosen(unit, here), strict=True))
        return found


def _json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def _entry(name: str) -> zipfile.ZipInfo:
    """A zip entry with a fixed date: the same images give the same bytes."""
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
