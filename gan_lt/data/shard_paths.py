"""Which tar files what was typed after --data stands for."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from gan_lt.data.labelling import natural_key
from gan_lt.errors import InputError

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")  # compressed ones are recognised, to say what to do
_MAX_SHARDS = 100_000
_BRACES = re.compile(r"\{([^{}]*)\}")


def shard_paths(path: Path, shown: str) -> tuple[Path, ...] | None:
    """The shards at ``path``, in natural order; None where it is no such thing.

    It may be a tar file; a folder with tar files, no sub-folders and no dataset.json; or a pattern ending in .tar, with
    ``{000000..000009}``, ``{a,b}``, ``*``, ``?`` or ``[abc]``, of which what is there under the very name goes first.

    Raises:
        InputError: a shard of a pattern is not there, or none is; too many.
    """
    # os.path, since Path raises for a name too long, as a pattern may be
    if os.path.isdir(path):
        return _in_folder(path, shown)
    if os.path.isfile(path):
        return (path,) if _is_tar(path) else None
    if not is_pattern(path):
        return None  # not there at all
    found: list[str] = []
    for pattern in _expanded(str(path), shown):
        folder, name = os.path.split(pattern)
        known = os.path.isdir(folder)  # which then is meant itself, whatever it is called
        if os.path.isfile(pattern):
            found.append(pattern)
        elif glob.has_magic(name if known else pattern):
            around = glob.escape(folder) if known else folder
            found.extend(sorted(glob.glob(os.path.join(around, name)), key=natural_key))
        else:
            raise InputError(f"{shown}: shard {pattern} is not there: add it or correct the pattern")
    if not found:
        raise InputError(f"{shown}: no shard has such a name: correct the pattern")
    return tuple(Path(name) for name in dict.fromkeys(found))


def is_pattern(path: Path) -> bool:
    """Whether it stands for shards by a pattern; a file may be called so all the same."""
    return _is_tar(path) and any(character in str(path) for character in "{*?[")


def _is_tar(path: Path) -> bool:
    return path.name.lower().endswith(_TAR_SUFFIXES)


def _in_folder(folder: Path, shown: str) -> tuple[Path, ...] | None:
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir() or entry.name == "dataset.json":
                    return None
                if _is_tar(Path(entry.name)):
                    names.append(entry.name)
    except OSError as error:
        raise InputError(f"{shown}: {error.filename} can't be read ({error.strerror})") from error
    return tuple(folder / name for name in sorted(names, key=natural_key)) or None


def _expanded(pattern: str, shown: str) -> list[str]:
    """The pattern with every ``{...}`` written out."""
    patterns = [pattern]
    while match := _BRACES.search(patterns[0]):
        choices = _choices(match[1], shown)
        if len(patterns) * len(choices) > _MAX_SHARDS:
            raise InputError(f"{shown}: the pattern stands for more than {_MAX_SHARDS:,} shards: shorten it")
        patterns = [text.replace(match[0], choice, 1) for text in patterns for choice in choices]
    return patterns


def _choices(inside: str, shown: str) -> list[str]:
    bounds = re.fullmatch(r"([0-9]{1,15})\.\.([0-9]{1,15})", inside)
    if bounds is None:
        if "," not in inside:
            raise InputError(f"{shown}: {{{inside}}} is neither {{000000..000009}} nor {{a,b}}: correct it")
        return inside.split(",")
    first, last = int(bounds[1]), int(bounds[2])
    if not first <= last < first + _MAX_SHARDS:
        raise InputError(f"{shown}: {{{inside}}} is no range of up to {_MAX_SHARDS:,} shards: correct it")
    return [f"{number:0{len(bounds[1])}d}" for number in range(first, last + 1)]
