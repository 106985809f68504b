"""Sampling, encoding and writing at the same time: threads save one unit while the next is sampled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gan_lt.sampling.encoding import Encoding
from gan_lt.sampling.images import CHUNK
from gan_lt.sampling.set_formats import SetInTheMaking

THREADS = 2
_QUEUE = 8  # units, or parts of them, between sampling and writing: bounds memory, and what a kill can lose

Pixels = Callable[[NDArray[np.int64]], NDArray[np.uint8]]


def units_of(count: int) -> list[range]:
    """0..count-1 in runs of CHUNK, what goes through the network at once."""
    return [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def fill_set(
    target: SetInTheMaking,
    units: Sequence[range],
    pixels: Pixels,
    encoding: Encoding,
    progress: Callable[[int], None],
) -> None:
    """Save every image of the units that is missing.

    pixels: positions [n] -> uint8 [n, C, H, W]; called in this thread, one unit at a time. progress: called with the
    number of images just saved.
    """

    def encode(images: NDArray[np.uint8]) -> list[bytes]:
        return [encoding.encode(image) for image in images]

    def save(unit: range, positions: NDArray[np.int64], encoded: Callable[[], list[bytes]]) -> int:
        target.save(unit, positions.tolist(), encoded())
        return len(positions)

    waiting: deque[Future[int]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="gan_lt-encode") as pool:
        try:
            for unit in units:
                positions = target.missing(unit)
                if not len(positions):
                    continue
                # all threads at once: sampling's own threads wait for the slowest of them, so a core that encodes alone
                # would hold up the others
                images = np.array_split(pixels(positions), THREADS)
                if target.saves_parts:
                    for part, some in zip(np.array_split(positions, THREADS), images, strict=True):
                        if len(part):
                            waiting.append(pool.submit(save, unit, part, partial(encode, some)))
                else:
                    # starts after the parts have, so it never waits for one in the queue
                    parts = [pool.submit(encode, some) for some in images]
                    waiting.append(pool.submit(save, unit, positions, partial(_joined, parts)))
                while len(waiting) > _QUEUE or (waiting and waiting[0].done()):
                    progress(waiting.popleft().result())
            while waiting:
                progress(waiting.popleft().result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _joined(parts: list[Future[list[bytes]]]) -> list[bytes]:
    return [image for part in parts for image in part.result()]
