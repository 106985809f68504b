"""Reading the public functions' arguments: what is no number is refused with a ValueError that shows it."""

from __future__ import annotations

from numbers import Integral
from typing import Any


def integers(value: Any) -> tuple[int, ...] | None:
    """An integer, or a sequence of integers, as a tuple; None for anything else. numpy's integers are integers, bool is none."""
    items = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not all(isinstance(v, int | Integral) and not isinstance(v, bool) for v in items):
        return None
    return tuple(v if isinstance(v, int) else int(v) for v in items)


def real(value: Any, name: str) -> float:
    """A number, or a tensor or array of one, as a float.

    Raises:
        ValueError: no number; text that could be read as one is none either.
    """
    if isinstance(value, float | int):
        return value
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}={value!r} must be a number") from error
