"""Where an image set's pixels come from: an array in memory, or encoded files that are decoded on demand."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gan_lt.data.decoding import CorruptImageError, ImageHeader, corrupt_image, decode_image, read_header

Uint8Array = NDArray[np.uint8]
IndexArray = NDArray[np.int64]

# Threads take turns at Python's lock: where an image takes less than this they are slower than one of them alone. A
# time, because the size of the files says more than that of the images made of them, and is not known here.
_WORTH_A_THREAD = 0.35e-3  # seconds an image
_HAND_OVER = 10e-3  # seconds of work a thread takes at a time: enough beside what handing it over costs
_CHUNK = 64
_TRIED = 8
_Result = TypeVar("_Result")


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
    """A place that holds encoded images by name. Picklable, usable from several threads and processes."""

    def open(self, name: str) -> IO[bytes]: ...

    def stamps(self, names: tuple[str, ...]) -> NDArray[np.uint64]: ...

    def where(self, name: str) -> str:
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
    """Images decoded each time they are read, in threads."""

    files: ImageFiles
    names: tuple[str, ...]
    resolution: int
    channels: int

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
        names = tuple(self.names[index] for index in indices)
        return EncodedPixels(self.files, names, self.resolution, self.channels)

    def stamps(self) -> NDArray[np.uint64]:
        return self.files.stamps(self.names)

    def _decode(
        self, indices: IndexArray, threads: int | None, *, stop: bool
    ) -> tuple[Uint8Array, list[tuple[int, CorruptImageError]]]:
        shape = (len(indices), self.channels, self.resolution, self.resolution)
        pixels = np.empty(shape, dtype=np.uint8)

        def decode(span: range) -> list[tuple[int, CorruptImageError]]:
            corrupt = []
            for position in span:
                try:
                    pixels[position] = self._decode_one(self.names[indices[position]])
                except CorruptImageError as error:
                    corrupt.append((position, error))
                    if stop:
                        break
            return corrupt

        found = []
        for corrupt in in_threads(decode, len(indices), threads):
            found.extend(corrupt)
            if stop and found:
                break
        return pixels, found

    def _decode_one(self, name: str) -> Uint8Array:
        with open_image(self.files, name) as stream:
            return decode_image(stream, self.files.where(name), self.resolution, self.channels)


def scan_headers(files: ImageFiles, names: tuple[str, ...]) -> list[ImageHeader | CorruptImageError]:
    """The header of every image, or why it has none; in threads."""

    def scan(span: range) -> list[ImageHeader | CorruptImageError]:
        headers: list[ImageHeader | CorruptImageError] = []
        for position in span:
            name = names[position]
            try:
                with open_image(files, name) as stream:
                    headers.append(read_header(stream, files.where(name)))
            except CorruptImageError as error:
                headers.append(error)
        return headers

    return [header for chunk in in_threads(scan, len(names)) for header in chunk]


def open_image(files: ImageFiles, name: str) -> IO[bytes]:
    """Open an encoded image; CorruptImageError where that alone fails (a damaged entry, no permission)."""
    try:
        return files.open(name)
    except MemoryError:
        raise
    except Exception as error:  # zipfile and zlib raise many types for damaged entries
        raise corrupt_image(files.where(name), error) from error


def in_threads(work: Callable[[range], _Result], n: int, threads: int | None = None) -> Iterable[_Result]:
    """``work`` over ``range(n)`` in chunks, results in order. In this thread alone where others would not help."""
    threads = threads if threads is not None else _usable_cores()
    chunk = _CHUNK
    done = 0
    if threads > 1 and n > 1:
        # the first image may have to load a decoder
        for span in (range(1), range(1, min(1 + _TRIED, n))):
            began = time.perf_counter()
            result = work(span)
            seconds = (time.perf_counter() - began) / len(span)
            yield result
        done = span.stop
        threads = threads if seconds >= _WORTH_A_THREAD else 1
        chunk = min(max(int(_HAND_OVER / max(seconds, 1e-6)), 1), _CHUNK)
    spans = [range(start, min(start + chunk, n)) for start in range(done, n, chunk)]
    threads = min(len(spans), threads)
    if threads <= 1:
        yield from map(work, spans)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="gan_lt-decode") as pool:
        try:
            yield from pool.map(work, spans)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _usable_cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 16)
