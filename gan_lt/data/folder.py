"""Images in a folder on disk."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.labelling import LabelledNames, is_image_name, labels_from_folders, labels_from_json
from gan_lt.data.pixels import in_threads
from gan_lt.errors import InputError

_CHECKSUM_BYTES = 2**30  # folders up to this size have their files' contents in the fingerprint


@dataclass(frozen=True)
class FolderFiles:
    """Encoded images by their POSIX path relative to ``root``."""

    root: Path
    shown: str  # how messages name the folder

    def open(self, name: str) -> IO[bytes]:
        return open(self.root / name, "rb")

    def where(self, name: str) -> str:
        return f"{self.shown}: image {name}"

    def stamps(self, names: tuple[str, ...]) -> NDArray[np.uint64]:
        """CRC-32 of every file, or its size where the folder is too large to read for that."""
        try:
            sizes = np.array([os.stat(self.root / name).st_size for name in names], dtype=np.uint64)
            if sizes.sum() > _CHECKSUM_BYTES:
                return sizes
            chunks = in_threads(lambda span: [self._checksum(names[index]) for index in span], len(names))
            return np.array([checksum for chunk in chunks for checksum in chunk], dtype=np.uint64)
        except OSError as error:
            raise InputError(f"{self.shown}: {error.filename} can't be read ({error.strerror})") from error

    def _checksum(self, name: str) -> int:
        return zlib.crc32((self.root / name).read_bytes())


def label_folder(root: Path, shown: str) -> tuple[FolderFiles, LabelledNames]:
    """The images under ``root``, labelled by its dataset.json if it has one, otherwise by sub-folder.

    Images are found at any depth inside a class folder. Hidden files and files that are not images are passed
    over, as is everything that lies beside the class folders, such as a manifest.json.

    Raises:
        InputError: no classes, an empty class, labels that don't fit, a folder that can't be read.
    """
    files = FolderFiles(root, shown)
    try:
        names = _image_names(root)
        description = root / "dataset.json"
        if description.is_file():
            return files, labels_from_json(description.read_bytes(), names, shown)
        folders = [
            entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
        ]
    except OSError as error:
        raise InputError(f"{shown}: {error.filename} can't be read ({error.strerror})") from error
    return files, labels_from_folders(names, [name for name in folders if name != "__MACOSX"], shown)


def _image_names(root: Path) -> list[str]:
    def refuse(error: OSError) -> None:
        raise error  # os.walk passes over unreadable folders unless told otherwise

    names: list[str] = []
    for folder, folders, entries in os.walk(root, onerror=refuse, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(folder).relative_to(root).as_posix()
        paths = entries if prefix == "." else [f"{prefix}/{entry}" for entry in entries]
        names.extend(name for name in paths if is_image_name(name))
    return names
