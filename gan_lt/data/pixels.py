"""Where an image set's pixels come from: an array in memory, or encoded files that are decoded on demand."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.decoding import CorruptImageError, corrupt_image, decode_image, read_header
from gan_lt.data.threads import Pace, in_threads

Uint8Array = NDArray[np.uint8]
IndexArray = NDArray[np.int64]


class PixelSource(Protocol):
    """N images of one shape."""

    @property
    def in_memory(self) -> bool: ...

    def read(self, indices: IndexArray, threads: int | None = None) -> Uint8Array:
        """uint8 ``[n, C, H, W]``: the images at ``indices``."""

    def take(self, indices: IndexArray) -> PixelSource:
        """The source of these images alone."""

    def stamps(self) -> NDArray[np.uint64]:
        """``[N]``: a number per image that changes with its content, as far as that is cheap to tell."""


class ImageFiles(Protocol):
    """N encoded images by position. Picklable, usable from several threads and processes."""

    def open(self, position: int, *, header: bool = False) -> IO[bytes]:
        """The encoded image; only its beginning need be whole and checked where its ``header`` is wanted."""

    def stamps(self, positions: IndexArray) -> NDArray[np.uint64]: ...

    def where(self, position: int) -> str:
        """How messages name the image."""


@dataclass(frozen=True)
class ArrayPixels:
    """Pixels kept as uint8 ``[N, C, H, W]``; ``origin`` is what they were decoded from, if anything."""

    array: Uint8Array
    origin: PixelSource | None = None

    @property
    def in_memory(self) -> bool:
        return True

    def read(self, indices: IndexArray, threads: int | None = None) -> Uint8Array:
        return self.array[indices]

    def take(self, indices: IndexArray) -> ArrayPixels:
        return ArrayPixels(self.array[indices], self.origin.take(indices) if self.origin else None)

    def stamps(self) -> NDArray[np.uint64]:
        # Stamps of the origin, so that decoding a set does not change its fingerprint.
        if self.origin is not None:
            return self.origin.stamps()
        return np.array([zlib.crc32(image.tobytes()) for image in self.array], dtype=np.uint64)


@dataclass(frozen=True)
class EncodedPixels:
    """Images decoded each time they are read, in threads; ``positions`` ``[N]`` are theirs in ``files``."""

    files: ImageFiles
    positions: IndexArray
    resolution: int
    channels: int
    pace: Pace = field(default_factory=Pace, repr=False, compare=False)

    @property
    def in_memory(self) -> bool:
        return False

    def read(self, indices: IndexArray, threads: int | None = None) -> Uint8Array:
        """As PixelSource says; raises CorruptImageError naming the first image that can't be decoded."""
        pixels, corrupt = self._decode(indices, threads, stop=True)
        if corrupt:
            raise corrupt[0][1]
        return pixels

    def read_whole(self, indices: IndexArray) -> tuple[Uint8Array, IndexArray, list[CorruptImageError]]:
        """The images that can be decoded, the positions in ``indices`` of those that can't, and why."""
        pixels, corrupt = self._decode(indices, None, stop=False)
        bad = np.array([position for position, _ in corrupt], dtype=np.int64)
        return np.delete(pixels, bad, axis=0) if bad.size else pixels, bad, [error for _, error in corrupt]

    def take(self, indices: IndexArray) -> EncodedPixels:
        return EncodedPixels(self.files, self.positions[indices], self.resolution, self.channels, self.pace)

    def stamps(self) -> NDArray[np.uint64]:
        return self.files.stamps(self.positions)

    def _decode(
        self, indices: IndexArray, threads: int | None, *, stop: bool
    ) -> tuple[Uint8Array, list[tuple[int, CorruptImageError]]]:
        shape = (len(indices), self.channels, self.resolution, self.resolution)
        pixels = np.empty(shape, dtype=np.uint8)

        def decode(span: range) -> list[tuple[int, CorruptImageError]]:
            corrupt = []
            for position in span:
                try:
                    pixels[position] = self._decode_one(int(self.positions[indices[position]]))
                except CorruptImageError as error:
                    corrupt.append((position, error))
                    if stop:
                        break
            return corrupt

        found = []
        for corrupt in in_threads(decode, len(indices), threads, self.pace):
            found.extend(corrupt)
            if stop and found:
                break
        return pixels, found

    def _decode_one(self, position: int) -> Uint8Array:
        with open_image(self.files, position) as stream:
            return decode_image(stream, partial(self.files.where, position), self.resolution, self.channels)


@dataclass(frozen=True)
class ScannedHeaders:
    """What the headers of N images say: ``sizes`` int32 ``[N, 2]`` (width, height), ``is_colour`` bool ``[N]``.

    ``corrupt`` has, by position, why an image has no header; its size is 0x0.
    """

    sizes: NDArray[np.int32]
    is_colour: NDArray[np.bool_]
    corrupt: dict[int, CorruptImageError]


def scan_headers(files: ImageFiles, n: int) -> ScannedHeaders:
    """The headers of the images at the first ``n`` positions; in threads."""
    scanned = ScannedHeaders(np.zeros((n, 2), dtype=np.int32), np.zeros(n, dtype=bool), {})

    def scan(span: range) -> None:
        for position in span:
            try:
                with open_image(files, position, header=True) as stream:
                    header = read_header(stream, partial(files.where, position))
            except CorruptImageError as error:
                scanned.corrupt[position] = error
            else:
                scanned.sizes[position] = header.width, header.height
                scanned.is_colour[position] = header.is_colour

    for _ in in_threads(scan, n):
        pass
    return scanned


def open_image(files: ImageFiles, position: int, *, header: bool = False) -> IO[bytes]:
    """Open an encoded image; CorruptImageError where that alone fails (a damaged entry, no permission)."""
    try:
        return files.open(position, header=header)
    except MemoryError:
        raise
    except Exception as error:  # decompressors raise many types for damaged entries
        raise corrupt_image(partial(files.where, position), error) from error
