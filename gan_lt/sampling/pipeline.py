"""Sampling, encoding and writing at the same time: threads save one unit while the next is sampled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from gan_lt.sampling.encoding import Encoding
from gan_lt.sampling.images import CHUNK
from gan_lt.sampling.set_formats import SetInTheMaking

THREADS = 2
_QUEUE = 8  # units between sampling and writing: bounds memory, and what a kill can lose

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

    def save(unit: range, positions: NDArray[np.int64], images: NDArray[np.uint8]) -> int:
        target.save(unit, positions.tolist(), [encoding.encode(image) for image in images])
        return len(positions)

    waiting: deque[Future[int]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="gan_lt-encode") as pool:
        try:
            for unit in units:
                positions = target.missing(unit)
                if not len(positions):
                    continue
                waiting.append(pool.submit(save, unit, positions, pixels(positions)))
                while len(waiting) > _QUEUE or (waiting and waiting[0].done()):
                    progress(waiting.popleft().result())
            while waiting:
                progress(waiting.popleft().result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
