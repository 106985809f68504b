"""Images in a folder on disk."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.labelling import (
    LabelledNames,
    folder_around_classes,
    folder_of_description,
    is_image_name,
    labels_below,
    labels_from_folders,
    labels_from_json,
)
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

    Images are found at any depth inside a class folder, which may be a link. A folder around all class folders is
    passed over, as in a zip, and so are hidden files, files that are not images, and everything that lies beside the
    class folders, such as a manifest.json.

    Raises:
        InputError: no classes, an empty class, labels that don't fit, a folder that can't be read; a link to a folder
            that it lies in.
    """
    try:
        names, folders = _images_and_folders(root, shown)
        around = folder_of_description(names, lambda name: (root / name).is_file())
        text = None if around is None else (root / around / "dataset.json").read_bytes()
    except OSError as error:
        raise InputError(f"{shown}: {error.filename} can't be read ({error.strerror})") from error
    if around is not None and text is not None:
        labelled = labels_below(around, names, lambda inside: labels_from_json(text, inside, shown))
    else:
        around = folder_around_classes(names, folders, shown)
        inner = (folder[len(around) :].partition("/")[0] for folder in folders)
        classes = {folder for folder in inner if folder}
        labelled = labels_below(around, names, lambda inside: labels_from_folders(inside, classes, shown))
    return FolderFiles(root, labelled.names, shown), labelled


def _images_and_folders(root: Path, shown: str) -> tuple[list[str], list[str]]:
    """Relative paths of the visible images and, with a slash, folders.

    Links are followed where class folders lie, not inside of them: at the root, and in a folder around all others.
    """

    def refuse(error: OSError) -> None:
        raise error  # os.walk passes over unreadable folders unless told otherwise

    names: list[str] = []
    found: list[str] = []
    outer = str(root)  # so far without a folder beside it
    trail = [os.path.realpath(root)]
    for folder, folders, entries in os.walk(root, onerror=refuse, followlinks=True):
        visible = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        # a sole folder that holds images is a class, not a folder around classes
        if folder == outer and (folder == str(root) or not any(map(is_image_name, entries))):
            _require_no_loop(folder, visible, trail, shown)
            if len(visible) == 1:
                outer = os.path.join(folder, visible[0])
                trail.append(os.path.realpath(outer))
        else:
            visible = [name for name in visible if not os.path.islink(os.path.join(folder, name))]
        folders[:] = visible
        relative = Path(folder).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        found.extend(f"{prefix}{name}/" for name in visible)
        names.extend(name for name in (prefix + entry for entry in entries) if is_image_name(name))
    return names, found


def _require_no_loop(folder: str, names: list[str], trail: list[str], shown: str) -> None:
    for path in (os.path.join(folder, name) for name in names):
        if os.path.islink(path):
            target = os.path.realpath(path)
            if any(Path(passed).is_relative_to(target) for passed in trail):
                raise InputError(
                    f"{shown}: {path} links to {target}, which it lies in itself: remove the link"
                )
