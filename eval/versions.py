"""Versions that the numbers depend on."""

from __future__ import annotations

import platform
from importlib import metadata

from gan_lt.version import __version__

_PACKAGES = ("torch", "numpy", "scipy", "pillow")


def versions() -> dict[str, str]:
    """Name to version of gan_lt, Python and the libraries that compute."""
    found = {"gan_lt": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        found[name] = metadata.version(name)
    return found
