"""Streaming moments: exact, mergeable, and no larger for more images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval import StreamingMoments
from eval.moments import moments
from gan_lt.errors import InputError


@pytest.mark.parametrize("batches", [[50], [1, 2, 3, 44], [7] * 7 + [1]])
def test_batches_give_what_the_whole_gives(batches: list[int]) -> None:
    x = np.random.default_rng(0).standard_normal((50, 9)) + 5
    gathered = StreamingMoments(9)
    for part in np.split(x, np.cumsum(batches)[:-1]):
        gathered.update(part)
    assert gathered.count == 50
    np.testing.assert_allclose(gathered.mean, x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(gathered.covariance, np.cov(x, rowvar=False), rtol=1e-11, atol=1e-13)


def test_merging_two_halves_is_the_whole() -> None:
    x = np.random.default_rng(1).standard_normal((80, 6))
    left, right, empty = StreamingMoments(6), StreamingMoments(6), StreamingMoments(6)
    left.update(x[:30])
    right.update(x[30:])
    left.merge(right)
    left.merge(empty)
    empty.merge(left)  # as the first of several processes, before its own batch
    np.testing.assert_allclose(empty.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(empty.covariance, np.cov(x, rowvar=False), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(left.covariance, np.cov(x, rowvar=False), rtol=1e-11, atol=1e-14)


def test_a_single_image_is_merged_too() -> None:
    x = np.random.default_rng(3).standard_normal((7, 3))
    left, right = StreamingMoments(3), StreamingMoments(3)
    left.update(x[:6])
    right.update(x[6:])
    left.merge(right)
    np.testing.assert_allclose(left.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(left.covariance, np.cov(x, rowvar=False), rtol=1e-11, atol=1e-14)


def test_a_large_common_offset_costs_no_digits() -> None:
    x = np.random.default_rng(2).standard_normal((4000, 5))
    mean, covariance = moments(x + 1e6, rows_per_step=100)
    np.testing.assert_allclose(mean, x.mean(0) + 1e6, rtol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(x, rowvar=False), rtol=1e-6, atol=1e-8)


def test_bad_batches_are_named() -> None:
    gathered = StreamingMoments(3)
    with pytest.raises(InputError, match=r"shape \(2, 4\); expected \[n, 3\]"):
        gathered.update(np.zeros((2, 4)))
    with pytest.raises(InputError, match="holds nan in row 1"):
        gathered.update(np.array([[0, 0, 0], [0, np.nan, 0]]))
    with pytest.raises(InputError, match="0 images were given"):
        _ = gathered.covariance
    with pytest.raises(InputError, match="2 dimensions into 3"):
        gathered.merge(StreamingMoments(2))


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak is read from /proc, which is Linux's"
)
def test_memory_does_not_grow_with_the_number_of_images() -> None:
    script = (
        "import numpy as np\n"
        # getrusage's peak would start at that of the process that runs the tests: exec keeps it
        "def peak():\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    return int(next(line.split()[1] for line in lines if line.startswith('VmHWM')))\n"
        "from eval import StreamingMoments\n"
        "rng = np.random.default_rng(0)\n"
        "gathered = StreamingMoments(2048)\n"
        "batch = rng.standard_normal((512, 2048), dtype=np.float32)\n"
        "peaks = []\n"
        "for step in range(40):\n"
        "    gathered.update(batch)\n"
        "    peaks.append(peak())\n"
        "assert gathered.count == 20480\n"
        "print(peaks[9], peaks[-1])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    early, late = map(int, done.stdout.split())
    assert late < 1 << 20, f"peak of {late} KiB is over 1 GiB"
    assert late - early < 16 << 10, f"grew by {late - early} KiB over 15,360 images"
