"""Finding, building and loading the native kernels, once a process and device type."""

from __future__ import annotations

import torch

DEVICE_TYPES = ("cpu", "cuda")
COST = "slower"


def unavailable(device_type: str) -> str | None:
    """Why there are no native kernels on a device type, or None if there are."""
    return "they are not built yet"


def details(device_type: str) -> dict[str, object]:
    """Where a device type's kernels came from."""
    return {}


def toolchain() -> dict[str, object]:
    """Versions that decide which kernels can be had."""
    return {"torch": torch.__version__, "cuda_version": torch.version.cuda, "compiler": None}
