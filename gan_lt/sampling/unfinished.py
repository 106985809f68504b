"""A synthetic set in the making: a hidden folder beside the output that a stopped run leaves, and the next one goes on with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gan_lt.errors import InputError
from gan_lt.locking import lock
from gan_lt.sampling.ranks import Ranks

_REQUEST = "request.json"
_MADE = "made.json"


def unfinished_path(out: Path) -> Path:
    """Where the set `out` lies until it is complete: beside what `out` links to, where it is a link."""
    out = Path(os.path.realpath(out))
    return out.parent / f".{out.name}.partial"


@contextmanager
def unfinished_set(
    out: Path, request: dict[str, Any], *, empty_folder_ok: bool, ranks: Ranks
) -> Iterator[Path | list[int]]:
    """The folder in which `out` is made, locked against other commands.

    Left by an exception it stays if it holds anything made, for the same request to go on with; otherwise it goes.
    Yields the numbers of images by class, instead, where a run was stopped after `out` was complete: nothing is left to do.

    Args:
        out: what is being made. request: everything that its bytes depend on, JSON values.
        empty_folder_ok: an `out` that is an empty folder is as good as none.
        ranks: processes that make it together; rank 0 checks, locks and removes.

    Raises:
        InputError: `out` is there already, belongs to an unfinished set of another request, or is being written.
    """
    path = unfinished_path(out)
    with ExitStack() as held:
        finished: list[int] | None = ranks.share(lambda: _begin(out, path, request, empty_folder_ok, held))
        if finished is not None:
            yield finished
            return
        try:
            yield path
        except BaseException:
            if ranks.leads and not _holds_work(path):
                shutil.rmtree(path, ignore_errors=True)
            raise
        if ranks.leads:
            shutil.rmtree(path, ignore_errors=True)


def remember_made(path: Path, made: Sequence[int]) -> None:
    """Note in the folder `path` how many of each class the set holds that is about to be moved to its place."""
    write_whole(path / _MADE, json.dumps(list(made)).encode())


def _begin(
    out: Path, path: Path, request: dict[str, Any], empty_folder_ok: bool, held: ExitStack
) -> list[int] | None:
    """None: there is work to do. Else a run was stopped after the set was complete, and this is what it holds."""
    known = path.is_dir()
    path.mkdir(exist_ok=True)
    # the lock before anything is looked at, and on the folder that is there now: its owner may just have finished
    try:
        file = held.enter_context(open(path / "lock", "w"))
        lock(file)
    except BlockingIOError:
        raise InputError(
            f"--outdir: {out} is being written by another process; wait for it, or choose another name"
        ) from None
    except OSError:
        if not known:
            shutil.rmtree(path, ignore_errors=True)
        raise
    if not (path / "lock").exists() or os.fstat(file.fileno()).st_ino != (path / "lock").stat().st_ino:
        raise InputError(
            f"--outdir: {out} was being written by another process a moment ago; give the command again"
        )
    there = _read_request(path)
    if out.exists() and not (empty_folder_ok and out.is_dir() and not any(out.iterdir())):
        made = _moved(path) if there == request else None
        if made is not None:
            shutil.rmtree(path, ignore_errors=True)
            return made
        if not known:
            shutil.rmtree(path, ignore_errors=True)
        raise InputError(f"--outdir: {out} exists already; choose another name, or remove it")
    if there is not None and there != request:
        raise InputError(
            f"--outdir: {out} is unfinished, from another command ({_difference(there, request)}); give that command again "
            f"to finish it, choose another name, or remove {path}"
        )
    if there is None:
        try:
            write_whole(path / _REQUEST, json.dumps(request, indent=1).encode())
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
            raise
    return None


def _moved(path: Path) -> list[int] | None:
    """How many of each class the complete set holds that was moved out of this folder; None where it is still in here."""
    if not (path / _MADE).is_file() or any((path / name).exists() for name in ("set", "zip", "shards")):
        return None
    made: list[int] = json.loads((path / _MADE).read_bytes())
    return made


def write_whole(path: Path | str, data: bytes) -> None:
    """Write a file that appears under its name only when it is complete."""
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name}.writing"
    # bare system calls: of small images, opening a Python file costs as much as renaming it
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def _read_request(path: Path) -> dict[str, Any] | None:
    if not (path / _REQUEST).is_file():
        return None  # stopped before anything was made
    try:
        request = json.loads((path / _REQUEST).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--outdir: {path / _REQUEST} can't be read ({error}); remove {path}") from error
    return dict(request)


def _difference(there: dict[str, Any], request: dict[str, Any]) -> str:
    name = next(key for key in sorted(there | request) if there.get(key) != request.get(key))
    old, new = (json.dumps(values.get(name)) for values in (there, request))
    return f"{name} {_short(old)} there, {_short(new)} here"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _holds_work(path: Path) -> bool:
    return any(
        file.is_file() and not file.name.startswith(".")
        for folder in path.iterdir()
        if folder.is_dir()
        for file in folder.rglob("*")
    )
