"""Images in a zip file, which may come from anywhere: its names and sizes are checked before anything is read."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.labelling import LabelledNames, is_image_name, labels_from_folders, labels_from_json
from gan_lt.errors import InputError

_BOMB_RATIO, _BOMB_BYTES = 1000, 2**20  # an entry over both is refused
_UNREADABLE = (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError)


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

    A folder around everything is passed over. Hidden files, directories and files that are not images are too.

    Raises:
        InputError: not a zip; a name that leaves the zip ("..", absolute) or stands there twice; an entry that
            expands more than 1000 times and to more than 1 MiB; no labels, or labels that don't fit.
    """
    files = ZipFiles(path, shown)
    try:
        entries = files.archive().infolist()
    except _UNREADABLE as error:
        raise InputError(f"{shown} is not a zip that can be read ({error}): make it again") from error
    _require_safe(entries, shown)
    names = [entry.filename for entry in entries if not entry.is_dir() and is_image_name(entry.filename)]

    descriptions = [entry.filename for entry in entries if PurePosixPath(entry.filename).name == "dataset.json"]
    if descriptions:
        description = min(descriptions, key=lambda name: name.count("/"))
        try:
            text = files.archive().read(description)
        except _UNREADABLE as error:
            raise InputError(f"{shown}: {description} can't be read ({error}): make the zip again") from error
        return files, _in_folder(description, lambda inner: labels_from_json(text, inner, shown), names)

    folders = [_image_folder(entry) for entry in entries]
    around = _folder_around([name for name in [*names, *(f"{folder}/" for folder in folders if folder)]])
    inner_folders = {folder[len(around) :].partition("/")[0] for folder in folders if folder.startswith(around)}
    labelled = labels_from_folders(
        [name[len(around) :] for name in names], [folder for folder in inner_folders if folder], shown
    )
    return files, _with_prefix(labelled, around)
