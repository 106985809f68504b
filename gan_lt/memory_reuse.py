"""Keeping the memory of one step for the next."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes; more is refused


def keep_freed_memory() -> bool:
    """Have the C library keep what this process frees, instead of giving it back to the system.

    Activations of some MB are otherwise new pages in every layer of every step, and the system clears each of them anew. The
    process holds on to its largest step's memory, which the next step needs again anyway.

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
    kept = mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and kept)


__all__ = ["keep_freed_memory"]
