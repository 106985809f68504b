"""Truncation for all classes or for some: what a person asks for -> one psi a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from gan_lt.class_names import all_composed, composed
from gan_lt.errors import InputError

OTHERS = "*"

TruncationSetting = float | Mapping[str, float]


def parse_truncation(text: str) -> TruncationSetting:
    """`0.7`, `truck=0.9` or `0.7,truck=0.9,ship=1` (the number without a name is for the other classes).

    Raises:
        InputError: not a number, two values for one class.
    """
    setting: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        name = composed(name.strip()) if equals else OTHERS
        try:
            psi = float(value)
        except ValueError:
            raise InputError(
                f"--truncation: {part!r} is not a number; write 0.7, or 0.7,truck=0.9 for single classes"
            ) from None
        if name in setting:
            raise InputError(f"--truncation: {text!r} has two values for {name!r}; write one")
        setting[name] = psi
    return setting[OTHERS] if list(setting) == [OTHERS] else setting


def require_psi(psi: float) -> None:
    """Raises InputError for a truncation outside 0 to 2."""
    if not isinstance(psi, Real) or isinstance(psi, bool) or not 0 <= psi <= 2:
        shown = psi if isinstance(psi, Real) else repr(psi)
        raise InputError(f"--truncation: {shown} must be from 0 to 2; 1 is the full distribution")


def psi_per_class(truncation: TruncationSetting, class_names: Sequence[str]) -> NDArray[np.float64]:
    """float64 [K]: truncation psi of every class.

    truncation: one value for all, or {class name: psi}, where "*" stands for the classes not named (1 without it).

    Raises:
        InputError: a psi outside 0 to 2, a class that there is not.
    """
    class_names = all_composed(class_names)
    setting: dict[str, float] = {OTHERS: truncation} if not isinstance(truncation, Mapping) else {}
    for written, psi in truncation.items() if isinstance(truncation, Mapping) else ():
        name = composed(written)
        if name in setting:
            raise InputError(
                f"--truncation: {name!r} is there in two Unicode forms; give the class one value"
            )
        setting[name] = psi
    for name, psi in setting.items():
        if name != OTHERS and name not in class_names:
            raise InputError(
                f"--truncation: there is no class {name!r}; the network has {', '.join(class_names)}"
            )
        require_psi(psi)
    others = setting.get(OTHERS, 1.0)
    return np.array([setting.get(name, others) for name in class_names], dtype=np.float64)
