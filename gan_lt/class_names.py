"""Names of classes as people read them: macOS writes "é" as two code points (NFD), most other systems as one (NFC)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def composed(name: str) -> str:
    """The name in NFC, the form in which names of classes are kept and compared."""
    return unicodedata.normalize("NFC", name)


def all_composed(names: Iterable[str]) -> tuple[str, ...]:
    """The names in NFC, in the same order."""
    return tuple(composed(name) for name in names)
