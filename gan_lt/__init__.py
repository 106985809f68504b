"""gan_lt: class-conditional GANs for imbalanced image data."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gan_lt.version import __version__

if TYPE_CHECKING:
    from gan_lt.sampling import GANOverSampler, SyntheticDataset, sample_balanced

__all__ = ["GANOverSampler", "SyntheticDataset", "__version__", "sample_balanced"]


def __getattr__(name: str) -> Any:
    # on demand: `import gan_lt` alone must not wait for torch
    if name in ("GANOverSampler", "SyntheticDataset", "sample_balanced"):
        return getattr(import_module("gan_lt.sampling"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
