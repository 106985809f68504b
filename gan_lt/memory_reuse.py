"""Keeping the memory of one step for the next."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_NEVER = -1  # mallopt(3): "disables trimming completely"


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
    kept = mallopt(_M_TRIM_THRESHOLD, _NEVER)
    # By itself each tensor of 32 MiB and more is mapped, and given back, on its own, whatever the threshold.
    return bool(mallopt(_M_MMAP_MAX, 0) and kept)


__all__ = ["keep_freed_memory"]
