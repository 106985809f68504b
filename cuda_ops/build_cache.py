"""The CPU library built on first use: where it is kept, and the lock that makes racing processes safe."""

from __future__ import annotations

import hashlib
import os
import platform
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path

from cuda_ops import build
from cuda_ops.build import BuildError


def cache_folders() -> list[Path]:
    """Where a library built on first use may go, best first: $GAN_LT_CACHE, the user's cache, a temporary folder."""
    folders = []
    chosen = os.environ.get("GAN_LT_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    # a user whom the system does not know, as in containers, has no home: nothing is expanded
    first = Path(os.path.expanduser(chosen))
    if first.parts[:1] != ("~",):
        folders.append((first if os.environ.get("GAN_LT_CACHE") else first / "gan_lt") / "native")
    owner = os.getuid() if hasattr(os, "getuid") else 0
    with suppress(FileNotFoundError):  # where no temporary folder can be written
        folders.append(Path(tempfile.gettempdir()) / f"gan_lt-{owner}" / "native")
    return folders


def _usable(folder: Path) -> bool:
    """Whether files can be made in `folder` and it belongs to this user (a library from it is run)."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
        return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def _cpu_identity() -> str:
    """What -march=native depends on: a cache in a shared home serves several machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    fields = ("flags", "Features", "model name", "CPU part")
    return "\n".join(sorted({line for line in lines if line.startswith(fields)}))


def cached_cpu_library() -> Path:
    """The CPU library for this machine, built into the cache if it is not there; safe with many processes at once.

    The name depends on the sources, torch's version, the compiler and the CPU. A file lock lets one process build while
    the others wait; the finished library is renamed into place, so a partial one is never loaded.

    Raises:
        BuildError: it cannot be built, or nowhere can be written.
    """
    torch, compiler = build.find_torch(), build.find_compiler()
    key = "\n".join(
        [
            build.source_hash(),
            torch.version,
            build.compiler_version(compiler),
            sysconfig.get_platform(),
            _cpu_identity(),
        ]
    )
    name = f"gan_lt_cpu-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    folders = cache_folders()
    for folder in folders:
        if (folder / name).is_file() and (
            not hasattr(os, "getuid") or folder.stat().st_uid in {0, os.getuid()}
        ):
            return folder / name
    writable = next((f for f in folders if _usable(f)), None)
    if writable is None:
        raise BuildError(f"no cache folder can be written ({', '.join(map(str, folders))}); set GAN_LT_CACHE")
    with _lock(writable / f"{name}.lock"):
        if not (writable / name).is_file():
            build.compile_cpu(writable / name, portable=False)
    return writable / name


class _lock:  # noqa: N801  a context manager, used like a function
    """Hold a file's lock; it is released when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        try:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_EX)
        except ImportError:
            return  # no such locks on this system: two builds at once cost time, and the rename keeps them correct
        except OSError:
            return  # a file system without locks: likewise

    def __exit__(self, *_: object) -> None:
        self._file.close()
