"""The order in which classes are shown."""

from __future__ import annotations

from collections.abc import Sequence


def rarest_last(counts: Sequence[int] | None, size: int) -> list[int]:
    """Class indices by falling training count, ties in class order; class order where counts aren't known."""
    if counts is None:
        return list(range(size))
    return sorted(range(size), key=lambda index: (-counts[index], index))
