"""Checks of single arguments, for the functions that people call themselves."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from torch import Tensor

from gan_lt.errors import InputError


def check_integer(value: Any, name: str, least: int, otherwise: str = "") -> None:
    """InputError that shows the value unless it is an integer (not bool) of at least `least`; `otherwise`: what else may be."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise InputError(f"{name}={value!r} must be an integer of at least {least}{otherwise}")


def check_number(value: Any, name: str, least: float = -math.inf, otherwise: str = "") -> None:
    """InputError that shows the value unless it is a finite number of at least `least`; `otherwise`: what else may be."""
    if not isinstance(value, Real) or isinstance(value, bool) or not least <= float(value) < math.inf:
        bound = "" if least == -math.inf else f" of at least {least:g}"
        raise InputError(f"{name}={value!r} must be a finite number{bound}{otherwise}")


def check_floating(value: Any, name: str, shape: str) -> None:
    """InputError unless the value is a floating-point tensor; `shape`: the one that is expected, for the message."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        got = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else repr(value)[:200]
        raise InputError(f"{name} must be a floating-point tensor {shape}, got {got}")
