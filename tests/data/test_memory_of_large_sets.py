"""What an image of a large set takes: little while it is looked for, little afterwards, nothing in a worker."""

from __future__ import annotations

import gc
import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gan_lt.data import open_image_set
from gan_lt.data.pixels import EncodedPixels, scan_headers
from gan_lt.data.shards import ShardFiles, label_shards
from tests.data.refusals import refused
from tests.data.shard_files import Files, png, write_shard

SMAPS = Path("/proc/self/smaps_rollup")


def private_mib() -> float:
    """Memory that this process has changed since it was forked, and shares no more."""
    lines = SMAPS.read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


@pytest.mark.skipif(not SMAPS.is_file(), reason="this system does not tell which memory is shared")
def test_a_worker_that_has_drawn_every_image_shares_their_names_still(tmp_path: Path) -> None:
    """Looking at a text of Python changes its count of references, which copies its page into the worker."""
    image, n = png(0), 30_000
    (tmp_path / "a.tar").write_bytes(image)
    names = tuple(f"{i:0800d}.png" for i in range(n))  # 25 MiB
    sizes = np.full(n, len(image))
    files = ShardFiles((tmp_path / "a.tar",), names, np.zeros(n, np.int32), np.zeros(n, np.int64), sizes, "a")
    pixels = EncodedPixels(files, np.arange(n), 8, 3)
    pixels.read(np.arange(64), threads=1)  # the decoder is loaded
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        gc.disable()
        before = private_mib()
        for start in range(0, n, 1000):
            pixels.read(np.arange(start, start + 1000), threads=1)
        os.write(tells, f"{private_mib() - before}".encode())
        os._exit(0)
    os.close(tells)
    with open(told) as grown:
        mib = float(grown.read())
    assert os.waitpid(child, 0)[1] == 0
    assert mib < 18  # what decoding itself takes varies with what ran before; the names are 25


def test_no_name_is_made_into_a_message_that_nobody_needs(tmp_path: Path) -> None:
    class Unnamed(ShardFiles):
        def where(self, position: int) -> str:
            raise AssertionError(position)

    (tmp_path / "a.tar").write_bytes(png(0))
    zero = np.zeros(1, np.int64)
    files = Unnamed((tmp_path / "a.tar",), ("a",), zero.astype(np.int32), zero, zero + len(png(0)), "a")
    assert scan_headers(files, 1).sizes.tolist() == [[8, 8]]
    assert EncodedPixels(files, zero, 8, 3).read(zero).shape == (1, 3, 8, 8)


def rows(start: int, stop: int) -> Files:
    image = png(0)
    return {
        f"{i:09d}.{kind}": data
        for i in range(start, stop)
        for kind, data in (("png", image), ("cls", b"%d" % (i % 10)), ("json", b"{}"))
    }


def test_the_index_of_shards_and_zips_is_compact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name, a place and a label stay; a zip's or a tar's own directory would take three to ten times that."""
    monkeypatch.setattr("gan_lt.data.opening.IN_MEMORY_BYTES", 0)
    n = 4000
    for shard in range(10):
        write_shard(tmp_path / "set" / f"{shard}.tar", rows(shard * n // 10, (shard + 1) * n // 10))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for i in range(n):
            archive.writestr(f"{i % 10}/{i:09d}.png", png(0))
    for path in (tmp_path / "set", tmp_path / "set.zip"):
        tracemalloc.start()
        images = open_image_set(path)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(images) == n
        assert kept / n < 300


def test_little_more_is_kept_of_one_shard_while_it_is_looked_through(tmp_path: Path) -> None:
    path, n = write_shard(tmp_path / "one.tar", rows(0, 4000)), 4000
    tracemalloc.start()
    _, labelled = label_shards((path,), "one")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(labelled.names) == n
    assert peak / n < 300


def test_entries_with_one_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan_lt.data.shard_samples.hash", lambda name: len(name), raising=False)
    files = rows(0, 20)
    path = write_shard(tmp_path / "a.tar", files)
    assert len(label_shards((path,), "a")[1].names) == 20
    write_shard(path, [*files.items(), ("000000007.png", b"7")])
    refused(path, "'000000007.png' is there twice")


def test_a_shard_of_nothing_holds_no_images(tmp_path: Path) -> None:
    refused(write_shard(tmp_path / "a.tar", {}), "hold no images")
    refused(write_shard(tmp_path / "a.tar", {".hidden": b""}), "hold no images")
