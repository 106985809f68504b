"""How a message calls a setting: as the option of a command, or as the argument of a function."""

from __future__ import annotations


def called(name: str, value: str = "", *, option: str | None) -> str:
    """`--data-root`, `--resolution N` where an option named the images, else `data_root`, `resolution=N`.

    option: the option that the images were given with; None: a caller in Python.
    """
    if option is None:
        return name.replace("-", "_") + (f"={value}" if value else "")
    return f"--{name} {value}".rstrip()
