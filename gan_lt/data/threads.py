"""Work on many images, by several threads where they help."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

# Threads take turns at Python's lock: where an image takes less than this they are slower than one of them alone. A
# time, because the size of the files says more than that of the images made of them, and is not known here.
_WORTH_A_THREAD = (
    0.35e-3  # seconds an image, at two looks in a row: at one, other work may have been in the way
)
_SURELY_WORTH = 2e-3  # at one look
_REMEMBERED = 1.0  # seconds for which images that were slow are taken to be so still
_HAND_OVER = 10e-3  # seconds of work a thread takes at a time: enough beside what handing it over costs
_ALONE = 8  # images between two looks at the clock
_CHUNK = 64
_MOST_CHUNKS = 2**14  # all are queued at once, and each takes 2 kB
_Result = TypeVar("_Result")


class Pace:
    """How long an image takes one thread that works alone, as it was last seen."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._slow = False
        self._seen_at = 0.0

    def look(self, images: int, began: float) -> None:
        """Note what so many images took since ``began``."""
        before, self._seen_at = self.seconds, time.perf_counter()
        # the first image of all may have had to load a decoder
        self.seconds = 0.0 if before is None else (self._seen_at - began) / images
        self._slow = self.seconds >= _SURELY_WORTH or min(self.seconds, before or 0.0) >= _WORTH_A_THREAD

    def is_slow(self) -> bool:
        """Whether threads help; that they do is looked at again after a second."""
        return self._slow and time.perf_counter() - self._seen_at < _REMEMBERED


def in_threads(
    work: Callable[[range], _Result], n: int, threads: int | None = None, pace: Pace | None = None
) -> Iterable[_Result]:
    """``work`` over ``range(n)`` in chunks, results in order.

    It is begun in this thread alone, and goes on in others as soon as images turn out to be slow enough for that.

    Args:
        threads: at most; the usable cores by default.
        pace: what calls for the same kind of image share, so that a call begins with what the last one found.
    """
    threads = threads if threads is not None else _usable_cores()
    pace = pace or Pace()
    done = 0
    while done < n and (threads <= 1 or not pace.is_slow()):
        span = range(done, min(done + (1 if done < 2 else _ALONE), n))
        began = time.perf_counter()
        result = work(span)
        pace.look(len(span), began)
        done = span.stop
        yield result
    if done == n:
        return
    left = n - done
    chunk = min(int(_HAND_OVER / (pace.seconds or _HAND_OVER)), _CHUNK, -(-left // threads))
    chunk = max(chunk, 1, -(-left // _MOST_CHUNKS))
    spans = [range(start, min(start + chunk, n)) for start in range(done, n, chunk)]
    with ThreadPoolExecutor(min(len(spans), threads), thread_name_prefix="gan_lt-decode") as pool:
        try:
            yield from pool.map(work, spans)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _usable_cores() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 16)
