"""What a large set costs: `python -m benchmarks.large_data [--images N] [--form zip|shards|list] [--epoch]`.

Writes N small JPEG files as a zip, as shards or as a folder with a list, opens them in a process of its own without
keeping them decoded, draws 20 batches with 2 workers (with --epoch as many as there are images: a worker copies what
it touches of that which it shares), and prints a JSON line a form: seconds to open, MiB by which resident memory
grew, in the end and at most, MiB that a worker has for itself after 20 batches and after all, images a second. The
files are in the page cache.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import multiprocessing
import resource
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.digits_judge import cpu_name

FORMS = ("zip", "shards", "list")
CLASSES, SIZE, SHARD_IMAGES, BATCH, BATCHES, WORKERS = 1000, 64, 10_000, 64, 20, 2


def main() -> int:
    """Measure every form that was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=int, default=115_846, metavar="N", help="images (ImageNet-LT's 115,846)"
    )
    parser.add_argument("--form", choices=FORMS, help="this form alone")
    parser.add_argument("--epoch", action="store_true", help="draw as many images as there are")
    options = parser.parse_args()
    print(f"{cpu_name()}, {options.images:,} images of {SIZE}x{SIZE} in {CLASSES:,} classes")
    for form in (options.form,) if options.form else FORMS:
        with tempfile.TemporaryDirectory() as folder:
            path = write_set(Path(folder), form, options.images)
            # a fresh process, so that what one form leaves in memory is not counted for the next
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=measure, args=(path, form, options.epoch))
            process.start()
            process.join()
            if process.exitcode:
                return 1
    return 0


def write_set(folder: Path, form: str, n: int) -> Path:
    """N images, of class i mod 1000; the path that is given to --data."""
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(64):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(buffer, "JPEG")
        encoded.append(buffer.getvalue())
    names = [f"n{i % CLASSES:08d}/n{i % CLASSES:08d}_{i}.jpg" for i in range(n)]
    if form == "zip":
        with zipfile.ZipFile(folder / "set.zip", "w") as archive:
            for i, name in enumerate(names):
                archive.writestr(zipfile.ZipInfo(name), encoded[i % 64])
            labels = [[name, i % CLASSES] for i, name in enumerate(names)]
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
        return folder / "set.zip"
    if form == "shards":
        for start in range(0, n, SHARD_IMAGES):
            with tarfile.open(folder / f"{start // SHARD_IMAGES:06d}.tar", "w") as shard:
                for i in range(start, min(start + SHARD_IMAGES, n)):
                    for kind, data in (
                        ("jpg", encoded[i % 64]),
                        ("cls", b"%d" % (i % CLASSES)),
                        ("json", b"{}"),
                    ):
                        member = tarfile.TarInfo(f"{i:09d}.{kind}")
                        member.size = len(data)
                        shard.addfile(member, io.BytesIO(data))
        return folder
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(encoded[i % 64])
    (folder / "list.txt").write_text("".join(f"{name} {i % CLASSES}\n" for i, name in enumerate(names)))
    return folder / "list.txt"


def measure(path: Path, form: str, epoch: bool) -> None:
    """Open the set and draw batches; print the figures."""
    from gan_lt.data import BatchLoader, open_image_set, opening, sampler_for

    multiprocessing.set_start_method("fork", force=True)  # as in training; a spawned process would spawn, too
    opening.IN_MEMORY_BYTES = 0
    before = resident()
    begin = time.perf_counter()
    images = open_image_set(path)
    opened = time.perf_counter() - begin
    gc.collect()
    kept = resident() - before
    loader = BatchLoader(images, sampler_for(images, "natural"), BATCH, num_workers=WORKERS)
    next(loader)
    begin = time.perf_counter()
    for _ in range(BATCHES):
        next(loader)
    rate = BATCH * BATCHES / (time.perf_counter() - begin)
    begun = private_of_workers()
    for _ in range(-(-len(images) // BATCH) - BATCHES if epoch else 0):
        next(loader)
    drawn = private_of_workers()
    loader.close()
    found = {
        "form": form,
        "open_s": round(opened, 1),
        "grown_mib": round(kept),
        "peak_grown_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before),
        "worker_mib": round(begun),
        "worker_mib_in_the_end": round(drawn),
        "images_per_s": round(rate),
    }
    print(json.dumps(found), flush=True)


def resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def private_of_workers() -> float:
    """The most that a loading process has for itself, in MiB."""
    return max(private(process.pid or 0) for process in multiprocessing.active_children())


def private(pid: int) -> float:
    """Memory in MiB that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return (
        sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Private_Clean")))
        / 1024
    )


if __name__ == "__main__":
    sys.exit(main())
