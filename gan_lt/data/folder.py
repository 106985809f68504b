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
from gan_lt.data.pixels import IndexArray
from gan_lt.data.threads import in_threads
from gan_lt.errors import InputError

CHECKSUM_BYTES = 2**30  # folders up to this size have their files' contents in the fingerprint


@dataclass(frozen=True)
class FolderFiles:
    """Encoded images by position; ``names`` are their POSIX paths relative to ``root``."""

    root: Path
    names: tuple[str, ...]
    shown: str  # how messages name the folder

    def open(self, position: int, *, header: bool = False) -> IO[bytes]:
        return open(f"{self.root}/{self.names[position]}", "rb")

    def where(self, position: int) -> str:
        return f"{self.shown}: image {self.names[position]}"

    def stamps(self, positions: IndexArray) -> NDArray[np.uint64]:
        """CRC-32 of every file, or its size where the folder is too large to read for that."""
        paths = [f"{self.root}/{self.names[position]}" for position in positions.tolist()]
        try:
            sizes = np.array([os.stat(path).st_size for path in paths], dtype=np.uint64)
            if sizes.sum() > CHECKSUM_BYTES:
                return sizes
            chunks = in_threads(lambda span: [_checksum(paths[index]) for index in span], len(paths))
            return np.array([checksum for chunk in chunks for checksum in chunk], dtype=np.uint64)
        except OSError as error:
            raise InputError(f"{self.shown}: {error.filename} can't be read ({error.strerror})") from error


def _checksum(path: str) -> int:
    with open(path, "rb") as file:
        return zlib.crc32(file.read())


def label_folder(root: Path, shown: str) -> tuple[FolderFiles, LabelledNames]:
    """The images under ``root``, labelled by its dataset.json if it has one, otherwise by sub-folder.

    Images are found at any depth inside a class folder. Hidden files and files that are not images are passed
    over, as is everything that lies beside the class folders, such as a manifest.json.

    Raises:
        InputError: no classes, an empty class, labels that don't fit, a folder that can't be read.
    """
    try:
        names = _image_names(root)
        description = root / "dataset.json"
        if description.is_file():
            labelled = labels_from_json(description.read_bytes(), names, shown)
            return FolderFiles(root, labelled.names, shown), labelled
        folders = [
            entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
        ]
    except OSError as error:
        raise InputError(f"{shown}: {error.filename} can't be read ({error.strerror})") from error
    labelled = labels_from_folders(names, [name for name in folders if name != "__MACOSX"], shown)
    return FolderFiles(root, labelled.names, shown), labelled


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
