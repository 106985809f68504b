"""Images in a zip file, which may come from anywhere: names and sizes are checked before anything is read."""

from __future__ import annotations

import bz2
import io
import lzma
import posixpath
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.image_set import DRIVE
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
from gan_lt.data.stretch import open_stretch, read_stretch
from gan_lt.errors import InputError

_BOMB_RATIO, _BOMB_BYTES = 1000, 2**20  # an entry over both is refused
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_OTHER_METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_LZMA_MEMORY = 2**28  # bytes; an entry may ask for 4 GiB
UNREADABLE = (
    OSError,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
)


class ZipFiles:
    """Encoded images in a zip, by position.

    Only where each entry lies is kept, some 30 bytes an image beside its name: the zip's own directory takes
    twenty times that, in every process.
    """

    def __init__(
        self, path: Path, names: tuple[str, ...], entries: Sequence[zipfile.ZipInfo], shown: str
    ) -> None:
        self.path, self.names, self.shown = path, names, shown
        self._headers = np.array([entry.header_offset for entry in entries], dtype=np.int64)
        self._sizes = np.array([(entry.compress_size, entry.file_size) for entry in entries], dtype=np.int64)
        self._checksums = np.array([entry.CRC for entry in entries], dtype=np.uint32)
        self._methods = np.array([entry.compress_type for entry in entries], dtype=np.int32)

    def open(self, position: int, *, header: bool = False) -> IO[bytes]:
        method = int(self._methods[position])
        compressed, size = self._sizes[position].tolist()
        start = self._data_start(int(self._headers[position]))
        if header and method == zipfile.ZIP_STORED:
            return open_stretch(self.path, start, size)
        data = read_stretch(self.path, start, compressed)
        if method == zipfile.ZIP_DEFLATED:
            # Bounded by what the directory says: an entry may expand to anything.
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        elif method == zipfile.ZIP_BZIP2:
            data = bz2.BZ2Decompressor().decompress(data, size + 1)
        elif method == zipfile.ZIP_LZMA:
            data = _unpack_lzma(data, size)
        if len(data) != size or zlib.crc32(data) != self._checksums[position]:
            raise zipfile.BadZipFile("bad CRC-32 or length")
        return io.BytesIO(data)

    def where(self, position: int) -> str:
        return f"{self.shown}: image {self.names[position]}"

    def stamps(self, positions: IndexArray) -> NDArray[np.uint64]:
        """CRC-32 of every entry, as the zip's directory has it."""
        return self._checksums[positions].astype(np.uint64)

    def _data_start(self, header: int) -> int:
        """Names and extra fields of an entry's own header may be longer than the directory says."""
        fixed = read_stretch(self.path, header, 30)
        if fixed[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("no entry where the directory says")
        name_length, extra_length = struct.unpack("<HH", fixed[26:30])
        return header + 30 + int(name_length) + int(extra_length)


def _unpack_lzma(data: bytes, size: int) -> bytes:
    """The ``size`` bytes of an entry: two of version, the length of the properties, these, and the stream.

    No byte more is asked for: an entry need not mark its end, and a decoder makes some up behind it then.
    """
    length = int.from_bytes(data[2:4], "little")
    unknown_size = b"\xff" * 8  # with properties and size in front it is an .lzma file
    unpacking = lzma.LZMADecompressor(lzma.FORMAT_ALONE, _LZMA_MEMORY)
    return unpacking.decompress(data[4 : 4 + length] + unknown_size + data[4 + length :], size)


def label_zip(path: Path, shown: str) -> tuple[ZipFiles, LabelledNames]:
    """The images in the zip at ``path``, labelled by its dataset.json if it has one, otherwise by folder.

    A folder around all class folders is passed over, and so are hidden files, files that are not images, and images
    beside the class folders.

    Raises:
        InputError: not a zip; a name that leaves the zip ("..", absolute) or stands there twice; an entry
            that expands more than 1000 times and to more than 1 MiB; an image that is encrypted or compressed in a way
            that is not read; no labels, or labels that don't fit.
    """
    try:
        archive = zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise InputError(f"{shown} is not a zip that can be read ({error}): make it again") from error
    with archive:
        entries = archive.infolist()
        _require_safe(entries, shown)
        written = {_normal(entry.filename): entry for entry in entries}
        labelled = _label(archive, written, shown)
        images = [written[name] for name in labelled.names]
    # zipfile believes what the directory says of places and sizes, and an array holds 63 bits
    end = path.stat().st_size
    for entry in images:
        if not 0 <= entry.header_offset <= end or entry.compress_size > end or entry.file_size >= 2**62:
            raise InputError(f"{shown}: entry {entry.filename!r} lies outside the file: make the zip again")
        _require_readable(entry, shown)
    return ZipFiles(path, labelled.names, images, shown), labelled


def _label(archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], shown: str) -> LabelledNames:
    names = [name for name, entry in entries.items() if not entry.is_dir() and is_image_name(name)]
    around = folder_of_description(names, entries.__contains__)
    if around is not None:
        description = f"{around}dataset.json"
        try:
            text = archive.read(entries[description])
        except UNREADABLE as error:
            raise InputError(f"{shown}: {description} can't be read ({error}): make the zip again") from error
        return labels_below(around, names, lambda inside: labels_from_json(text, inside, shown))

    folders = _leaf_folders(entries)
    around = folder_around_classes(names, folders, shown)
    classes = {folder[len(around) :].partition("/")[0] for folder in folders}
    return labels_below(around, names, lambda inside: labels_from_folders(inside, classes, shown))


def _normal(name: str) -> str:
    """An entry's name without "./", as some programs write it; that of a folder keeps its slash."""
    return posixpath.normpath(name) + ("/" if name.endswith("/") else "")


def _require_safe(entries: list[zipfile.ZipInfo], shown: str) -> None:
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        if not name:
            raise InputError(f"{shown}: an entry has no name: make the zip again")
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or DRIVE.match(name):
            raise InputError(
                f"{shown}: entry {name!r} points outside the zip: make it again with relative names"
            )
        normal = _normal(name)
        if normal in seen:
            raise InputError(f"{shown}: entry {name!r} is there twice: make it again with one")
        seen.add(normal)
        if entry.file_size > _BOMB_BYTES and entry.file_size > _BOMB_RATIO * entry.compress_size:
            raise InputError(
                f"{shown}: entry {name!r} expands from {entry.compress_size} to {entry.file_size} bytes, "
                f"more than {_BOMB_RATIO} times: not an honest image, remove it"
            )


def _require_readable(entry: zipfile.ZipInfo, shown: str) -> None:
    """What a zip's maker chose for all of its images is no damage of one."""
    if entry.flag_bits & 1:
        raise InputError(
            f"{shown}: image {entry.filename} is encrypted: make the zip again without a password"
        )
    method = entry.compress_type
    if method not in _METHODS:
        called = _OTHER_METHODS.get(method, f"the unknown method {method}")
        raise InputError(
            f"{shown}: image {entry.filename} is compressed by {called}: make the zip again with deflate or stored"
        )


def _leaf_folders(entries: Iterable[str]) -> list[str]:
    """Folders that hold no folder, with their slashes; also those without any image."""
    folders: set[PurePosixPath] = set()
    for name in entries:
        path = PurePosixPath(name)
        if not any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            folders.add(path if name.endswith("/") else path.parent)
    ancestors = {ancestor for folder in folders for ancestor in folder.parents}
    return sorted(f"{folder}/" for folder in folders - ancestors if folder.parts)
