"""Freed memory stays with the process: the next step finds it again."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from gan_lt.memory_reuse import keep_freed_memory
kept = keep_freed_memory()
def step():
    torch.ones(4 << 20)
    torch.ones(20 << 20)  # 80 MiB: beyond what mallopt's threshold for maps can be
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(25):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(**environment: str) -> tuple[bool, int]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    kept, faults = result.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc"
)
def test_no_new_pages_for_what_was_freed() -> None:
    kept, few = run()
    assert kept
    kept, many = run(GLIBC_TUNABLES="glibc.malloc.trim_threshold=4096:glibc.malloc.mmap_threshold=4096")
    assert not kept, "the user's own settings stay"
    assert few < many / 4  # pages may be large


@pytest.mark.skipif(sys.platform != "linux", reason="needs mallopt")
def test_large_tensors_in_other_threads() -> None:
    program = """
import threading
import torch
from gan_lt.memory_reuse import keep_freed_memory
keep_freed_memory()
sums = []
def work():
    for _ in range(3):
        sums.append(float(torch.ones(40 << 20).sum()))
threads = [threading.Thread(target=work) for _ in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
assert sums == [float(40 << 20)] * 6, sums
"""
    subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path)},
        check=True,
        timeout=120,
    )
