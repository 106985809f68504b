"""Keeping the memory of one step for the next."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # malloc.h
_NEVER = -1  # mallopt(3): "disables trimming completely"
_LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; more is refused


def keep_freed_memory() -> bool:
    """Have the C library keep what this process frees, in pieces below 32 MiB, instead of giving it back to the system.

    Activations of some MB are otherwise new pages in every layer of every step, and the system clears each of them anew.

    Returns:
        Whether it could: the C library is glibc, and neither MALLOC_* nor GLIBC_TUNABLES have a setting of the user's own.
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
    if sys.platform != "linux" or chosen:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, _NEVER)
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and kept)


class StepMemory:
    """`keep_freed_memory` for steps that repeat, with larger pieces too, as long as these are used again.

    The C library can't always use a large piece again: a small object that was put into its first bytes and stays is enough
    (glibc's bug 14581). So the process's own memory is looked at after every step, and when it is half as much again as its
    largest of the first 16 steps, what lies idle goes back to the system, and 16 steps tell anew what is usual.

    Attributes:
        keeps: whether it does anything: `keep_freed_memory` could, and the system tells the size of a process.
    """

    _SETTLING = 16  # those with lazy penalties are among them
    _GROWTH = 1.5

    def __init__(self) -> None:
        self._usual = self._steps = 0
        # large pieces only where somebody watches them
        self.keeps = (
            keep_freed_memory()
            and own_bytes() is not None
            and bool(ctypes.CDLL(None).mallopt(_M_MMAP_MAX, 0))
        )

    def end_step(self) -> bool:
        """To be called after every step. Returns whether idle memory was given back."""
        size = own_bytes() if self.keeps else None
        if size is None:
            return False
        if self._steps < self._SETTLING:
            self._steps += 1
            self._usual = max(self._usual, size)
            return False
        if size < self._GROWTH * self._usual:
            return False
        ctypes.CDLL(None).malloc_trim(0)
        self._usual = self._steps = 0  # what is left may be in use
        return True


def own_bytes() -> int | None:
    """Physical memory of this process but for files and what it shares, on Linux; None where /proc does not tell."""
    try:
        _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    except OSError:
        return None
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


__all__ = ["StepMemory", "keep_freed_memory", "own_bytes"]
