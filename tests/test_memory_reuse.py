"""Freed memory stays with the process, and the next step finds it again; what piles up goes back."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gan_lt import memory_reuse

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc"
)

FAULTS = """
import resource, sys
import torch
from gan_lt.memory_reuse import StepMemory, keep_freed_memory
large = sys.argv[1] == "large"  # beyond what mallopt's threshold for maps can be
kept = StepMemory().keeps if large else keep_freed_memory()
def steps(n):
    for _ in range(n):
        torch.ones((10 if large else 4) << 20)
steps(20)  # in the first ones small objects still find their places
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
steps(40)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

THREADS = """
import threading
import torch
from gan_lt.memory_reuse import StepMemory
assert StepMemory().keeps
seen = []
def work():
    for _ in range(3):
        ones = torch.ones(18 << 20)  # more than a thread's own heap can be
        seen.append((float(ones.min()), float(ones.max())))
threads = [threading.Thread(target=work) for _ in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
assert seen == [(1.0, 1.0)] * 6, seen
"""

# Scalars that stay take the first bytes of pieces that large tensors have left.
GROWTH = """
import torch
from gan_lt.memory_reuse import StepMemory, own_bytes
torch.set_num_threads(1)
memory, kept, returned, largest = StepMemory(), [], 0, 0
for step in range(120):
    x = torch.ones(9 << 20)
    kept.append(x[:4].sum())
    y = x * 2
    del x
    z = y + 1
    del y, z
    largest = max(largest, own_bytes())
    returned += memory.end_step()
print(returned, largest >> 20)
"""


def run(program: str, *arguments: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


@pytest.mark.parametrize("size", ["small", "large"])
def test_no_new_pages_for_what_was_freed(size: str) -> None:
    kept, few = run(FAULTS, size).split()
    assert kept == "True"
    tunables = "glibc.malloc.trim_threshold=4096:glibc.malloc.mmap_threshold=4096"
    kept, many = run(FAULTS, size, GLIBC_TUNABLES=tunables).split()
    assert kept == "False", "the user's own settings stay"
    assert int(few) < int(many) / 4  # pages may be large


class Library:
    """A C library that counts what it is asked for."""

    def __init__(self) -> None:
        self.trims = 0

    def mallopt(self, name: int, value: int) -> int:
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.trims += 1
        return 1


def test_growth_by_half_gives_idle_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    library, sizes = Library(), [100]
    monkeypatch.setattr(memory_reuse.ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(memory_reuse, "own_bytes", lambda: sizes[-1])
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    memory = memory_reuse.StepMemory()
    usual = [*range(100, 115), 200]  # the last of the settling steps counts
    grown = [299, 300]
    after = [*[500] * 16, 749, 750]  # what is left may be in use
    given = []
    for size in usual + grown + after:
        sizes.append(size)
        given.append(memory.end_step())
    assert given == [False] * 17 + [True] + [False] * 17 + [True]
    assert library.trims == 2


def test_without_proc_large_pieces_are_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(memory_reuse.ctypes, "CDLL", lambda name: Library())
    monkeypatch.setattr(Path, "read_text", no_proc)
    memory = memory_reuse.StepMemory()
    assert not memory.keeps
    assert not memory.end_step()


def test_large_tensors_in_other_threads() -> None:
    run(THREADS)


def test_pieces_that_are_not_used_again_go_back() -> None:
    returned, mebibytes = map(int, run(GROWTH).split())
    # where nothing is given back, 120 steps leave up to 36 MiB each: 4.6 GB in all
    assert mebibytes < 3000
    assert returned or mebibytes < 1000  # not every version of the library leaves any
