"""Where a run writes: one folder, made complete or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from gan_lt.config import TrainConfig, dump_yaml, read_yaml, validate
from gan_lt.errors import InputError
from gan_lt.locking import lock

CONFIG_NAME = "config.yaml"
_LOCK_NAME = ".lock"
# how everything in a run is called until it is complete: .NAME.PROCESS, and what safetensors calls a file until then
_TEMPORARY = re.compile(r"^\..+\.\d+$")
_TEMPORARY_WEIGHTS = re.compile(r"^\.tmp[A-Za-z0-9]{6}$")


def create_run(outdir: Path, config: TrainConfig, name: str | None = None) -> Path:
    """Make the folder of a new run below `outdir` and write its config.yaml.

    name: of the folder; None: the next free number and what is trained, as in 00003-cifar10-lt-noisytwins.

    Raises:
        InputError: the name is no folder's name, the folder exists and is not empty, or can't be written.
    """
    if name is not None and (not name or name == ".." or name != Path(name).name):
        raise InputError(f"--name: {name!r} is not the name of a folder; give --outdir the folders above it")
    path = str(outdir / (name or ""))
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"--outdir: {path!r} is not UTF-8, which TensorBoard's files need; choose another"
        ) from error
    try:
        outdir.mkdir(parents=True, exist_ok=True)
        if name is None:
            run = _next_free(outdir, "-".join([config.preset, *config.regularizers]))
        else:
            run = outdir / name
            if (run / CONFIG_NAME).exists():
                raise InputError(
                    f"--name: {run} is a run already; pass --resume {run} to go on, or another name"
                )
            run.mkdir(exist_ok=True)
            if foreign := sorted(path.name for path in run.iterdir() if not _is_ours(path)):
                raise InputError(
                    f"--name: {run} exists and holds {foreign[0]}; pass another name, or empty the folder"
                )
        write_config(run, config)
    except OSError as error:
        raise InputError(
            f"--outdir: {outdir} can't be written ({error.strerror}); choose a folder of yours with free space"
        ) from error
    return run


def discard_run(run: Path, *, keep_folder: bool) -> None:
    """Remove what a run that came to nothing has written, as far as that goes. keep_folder: it was there before."""
    with suppress(OSError):
        for path in run.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if not keep_folder:
            run.rmdir()


def _is_ours(path: Path) -> bool:
    """Whether a killed process left this behind while it made a run."""
    return path.is_file() and (path.name == _LOCK_NAME or _TEMPORARY.match(path.name) is not None)


def write_config(run: Path, config: TrainConfig) -> None:
    """Write config.yaml, whole or not at all."""
    temporary = run / f".{CONFIG_NAME}.{os.getpid()}"
    temporary.write_text(dump_yaml(config), encoding="utf-8")
    os.replace(temporary, run / CONFIG_NAME)


def _next_free(outdir: Path, description: str) -> Path:
    while True:
        numbers = [int(match[1]) for path in outdir.iterdir() if (match := re.match(r"^(\d{5})-", path.name))]
        run = outdir / f"{max(numbers, default=-1) + 1:05d}-{description}"
        try:
            run.mkdir()
        except FileExistsError:
            continue  # another process took the number
        return run


_locks: set[IO[str]] = set()


def _let_go() -> None:
    """A process that loads images may outlive its killed parent for seconds: it must not hold the lock with it."""
    while _locks:
        _locks.pop().close()  # not its number alone, which may soon be another file's


os.register_at_fork(after_in_child=_let_go)


class RunBusyError(InputError):
    """Another process trains in the run's folder."""


@contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Keep other processes from training in the same folder meanwhile.

    The lock belongs to the open file, so it is gone with the process however that ends.

    Raises:
        RunBusyError: another process trains there.
        InputError: the folder can't be written.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open(run / _LOCK_NAME, "w", encoding="utf-8"))
            _locks.add(file)
            stack.callback(_locks.discard, file)
            lock(file)
        except BlockingIOError:
            raise RunBusyError(
                f"{run}: another process trains in this folder; wait for it, or pass another --name"
            ) from None
        except OSError as error:
            raise InputError(
                f"{run}: can't be written ({error.strerror}); choose a folder of yours"
            ) from error
        yield


def remove_leftovers(run: Path) -> None:
    """Remove what a killed process was writing in a run. Only for the holder of its lock.

    Raises:
        InputError: the folder can't be written.
    """
    try:
        for folder in (run, run / "checkpoints", run / "network", run / "best"):
            for path in folder.iterdir() if folder.is_dir() else ():
                ours = _TEMPORARY.match(path.name) or (folder != run and _TEMPORARY_WEIGHTS.match(path.name))
                if ours and path.is_file():
                    path.unlink()
    except OSError as error:
        raise InputError(f"{run}: can't be written ({error.strerror}); make it writable") from error


def open_run(run: Path) -> TrainConfig:
    """The configuration of an existing run.

    Raises:
        InputError: not a run, or a damaged config.yaml.
    """
    file = run / CONFIG_NAME
    if not file.is_file():
        raise InputError(f"{run}: is not a run (no {CONFIG_NAME} there); pass a folder that train.py made")
    return validate(read_yaml(file), where=f"{file}: ")
