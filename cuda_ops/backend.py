"""Which implementation serves an operation on a device: native kernels or the PyTorch reference.

The choice is process-wide. "auto" takes the native kernels where they exist and otherwise the reference, with one
warning per device type that says why and what it costs; "native" raises where there are none; "reference" never uses
them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cuda_ops import library

BACKENDS = ("auto", "native", "reference")

_mode = "auto"
_warned: set[str] = set()


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Choose the implementation of every operation of this package inside a `with` block (process-wide).

    Args:
        name: "auto" (native where available), "native" (raises where it is not) or "reference" (pure PyTorch).

    Raises:
        ValueError: another name.

    >>> with use_backend("reference"):
    ...     pass
    """
    global _mode
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is not known; choose one of {', '.join(BACKENDS)}")
    previous, _mode = _mode, name
    try:
        yield
    finally:
        _mode = previous


def use_native(device: torch.device) -> bool:
    """Whether operations on `device` go to native kernels now; loads (and if need be builds) them the first time.

    Raises:
        RuntimeError: under use_backend("native") where there are no native kernels, saying why.
    """
    if _mode == "reference":
        return False
    reason = library.unavailable(device.type)
    if reason is None:
        return True
    if _mode == "native":
        raise RuntimeError(f"no native kernels on {device.type}: {reason}; use use_backend('auto')")
    if device.type not in _warned and device.type in library.DEVICE_TYPES:
        _warned.add(device.type)
        warnings.warn(
            f"cuda_ops runs its PyTorch reference on {device.type} ({library.cost(device.type)}): {reason}",
            RuntimeWarning,
            stacklevel=3,
        )
    return False


def backend_info() -> dict[str, object]:
    """Which kernels run on each device type, and in one sentence why not, if not.

    Returns:
        {"mode", "cpu": {"backend": "native"|"reference", "reason": None | str, ...}, "cuda": {...}, "torch", "cuda_version",
        "compiler"}. The entries of a device name where its kernels came from.
    """
    info: dict[str, object] = {"mode": _mode}
    for device_type in library.DEVICE_TYPES:
        reason = library.unavailable(device_type)
        if reason is None and _mode == "reference":
            reason = "use_backend('reference') is in force"
        entry: dict[str, object] = {"backend": "native" if reason is None else "reference", "reason": reason}
        entry.update(library.details(device_type))
        info[device_type] = entry
    info.update(library.toolchain())
    return info


__all__ = ["BACKENDS", "backend_info", "use_backend", "use_native"]
