"""Images in a zip file, which may come from anywhere: names and sizes are checked before anything is read."""

from __future__ import annotations

import io
import os
import threading
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.labelling import LabelledNames, is_image_name, labels_from_folders, labels_from_json
from gan_lt.errors import InputError

_BOMB_RATIO, _BOMB_BYTES = 1000, 2**20  # an entry over both is refused
_UNREADABLE = (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error)


class ZipFiles:
    """Encoded images by their name in a zip. Every process opens the file for itself."""

    def __init__(self, path: Path, shown: str) -> None:
        self.path = path
        self.shown = shown
        self._lock = threading.Lock()
        self._archive: zipfile.ZipFile | None = None
        self._owner = -1

    def open(self, name: str) -> IO[bytes]:
        # Whole entries, since Pillow seeks, and seeking back in a compressed entry starts it again.
        return io.BytesIO(self.archive().read(name))

    def where(self, name: str) -> str:
        return f"{self.shown}: image {name}"

    def stamps(self, names: tuple[str, ...]) -> NDArray[np.uint64]:
        """CRC-32 of every entry, as the zip's directory has it."""
        archive = self.archive()
        return np.array([archive.getinfo(name).CRC for name in names], dtype=np.uint64)

    def archive(self) -> zipfile.ZipFile:
        with self._lock:
            # A forked worker must not share its parent's file position.
            if self._archive is None or self._owner != os.getpid():
                self._archive = zipfile.ZipFile(self.path)
                self._owner = os.getpid()
            return self._archive

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "shown": self.shown}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["shown"])  # type: ignore[misc]


def label_zip(path: Path, shown: str) -> tuple[ZipFiles, LabelledNames]:
    """The images in the zip at ``path``, labelled by its dataset.json if it has one, otherwise by folder.

    A folder around everything is passed over, and so are hidden files and files that are not images.

    Raises:
        InputError: not a zip; a name that leaves the zip ("..", absolute) or stands there twice; an entry
            that expands more than 1000 times and to more than 1 MiB; no labels, or labels that don't fit.
    """
    files = ZipFiles(path, shown)
    try:
        entries = files.archive().infolist()
    except _UNREADABLE as error:
        raise InputError(f"{shown} is not a zip that can be read ({error}): make it again") from error
    _require_safe(entries, shown)
    names = [entry.filename for entry in entries if not entry.is_dir() and is_image_name(entry.filename)]

    description = _description(names, {entry.filename for entry in entries})
    if description is not None:
        try:
            text = files.archive().read(description)
        except _UNREADABLE as error:
            raise InputError(f"{shown}: {description} can't be read ({error}): make the zip again") from error
        around = description.removesuffix("dataset.json")
        return files, _with_prefix(labels_from_json(text, _without(names, around), shown), around)

    folders = _leaf_folders(entries)
    around = _folder_around([*names, *(f"{folder}/" for folder in folders)])
    classes = {folder.partition("/")[0] for folder in _without(folders, around)}
    return files, _with_prefix(labels_from_folders(_without(names, around), classes, shown), around)


def _require_safe(entries: list[zipfile.ZipInfo], shown: str) -> None:
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        if not name:
            raise InputError(f"{shown}: an entry has no name: make the zip again")
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (len(name) > 1 and name[1] == ":"):
            raise InputError(
                f"{shown}: entry {name!r} points outside the zip: make it again with relative names"
            )
        if name in seen:
            raise InputError(f"{shown}: entry {name!r} is there twice: make it again with one")
        seen.add(name)
        if entry.file_size > _BOMB_BYTES and entry.file_size > _BOMB_RATIO * entry.compress_size:
            raise InputError(
                f"{shown}: entry {name!r} expands from {entry.compress_size} to {entry.file_size} bytes, "
                f"more than {_BOMB_RATIO} times: not an honest image, remove it"
            )


def _description(names: list[str], entries: set[str]) -> str | None:
    """dataset.json at the root, or at the root of a folder that all images lie in."""
    if "dataset.json" in entries:
        return "dataset.json"
    roots = {name.partition("/")[0] for name in names}
    inside = f"{next(iter(roots))}/dataset.json" if len(roots) == 1 else ""
    return inside if inside in entries else None


def _leaf_folders(entries: list[zipfile.ZipInfo]) -> list[str]:
    """Folders that hold no folder, also those without any image."""
    folders: set[PurePosixPath] = set()
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if not any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            folders.add(path if entry.is_dir() else path.parent)
    ancestors = {ancestor for folder in folders for ancestor in folder.parents}
    return sorted(str(folder) for folder in folders - ancestors if folder.parts)


def _folder_around(paths: list[str]) -> str:
    """The folder around all class folders, with its slash, or ""."""
    around = ""
    rest = [path.split("/") for path in paths]
    while rest and len({parts[0] for parts in rest}) == 1 and all(len(parts) > 2 for parts in rest):
        around += f"{rest[0][0]}/"
        rest = [parts[1:] for parts in rest]
    return around


def _without(names: list[str], around: str) -> list[str]:
    return [name[len(around) :] for name in names]


def _with_prefix(labelled: LabelledNames, around: str) -> LabelledNames:
    return replace(labelled, names=tuple(around + name for name in labelled.names)) if around else labelled
