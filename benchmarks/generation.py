"""Measures generate: `python -m benchmarks.generation [--network RUN] [--images N] [--repeats N]`.

Prints, for the machine it runs on, images a second of: the bare network (sampling alone, nothing kept), the encoder alone
with as many threads as generate uses, the file system (small files written and renamed, one thread), and what generate
reaches into a folder, a zip and shards, each with its share of what it can reach at most, the lower of the first two.
Without --network: an untrained one of 32x32 pixels, StyleGAN2 with up to 128 channels. Each round measures all of them, one
after the other, and a share is of one round's figures; the median of the rounds counts, their range says how sure it is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.evaluation import machine
from gan_lt.models import Generator
from gan_lt.sampling import Encoding, load_generator, plan_per_class, sample_images, write_synthetic_set
from gan_lt.sampling.pipeline import THREADS, units_of
from gan_lt.sampling.plan import image_seeds
from gan_lt.sampling.unfinished import write_whole


def main() -> None:
    """Measure in turns and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path, help="a run or a saved network (untrained, 32x32)")
    parser.add_argument("--images", type=int, default=2000, help="a round (2000)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "threads": torch.get_num_threads()}
    print(json.dumps(found), flush=True)
    generator = network(args.network)
    per_class = max(1, args.images // generator.num_classes)
    plan = plan_per_class(generator, per_class)
    seeds = image_seeds(0, plan.labels, plan.indices)
    images = sample_images(generator, plan.labels, seeds)
    sizes = {"images": len(images), "shape": list(images.shape[1:])}
    print(json.dumps(sizes), flush=True)
    found |= sizes
    measurements: dict[str, Callable[[], float]] = {
        "bare": lambda: rate(len(seeds), lambda: bare(generator, plan.labels, seeds)),
        "encoder": lambda: rate(len(images), lambda: encode(images)),
        "files": lambda: rate(len(images), lambda: small_files(len(images), Encoding().encode(images[0]))),
        "folder": lambda: write(generator, per_class, "folder"),
        "zip": lambda: write(generator, per_class, "zip"),
        "webdataset": lambda: write(generator, per_class, "webdataset"),
    }
    rounds = [{name: measure() for name, measure in measurements.items()} for _ in range(args.repeats)]
    for name in measurements:
        line = {"what": name, "images_per_second": of_rounds([result[name] for result in rounds], 0)}
        if name in ("folder", "zip", "webdataset"):
            line["share_of_limit"] = of_rounds(
                [result[name] / min(result["bare"], result["encoder"]) for result in rounds], 3
            )
        print(json.dumps(line), flush=True)
        found[name] = line
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def of_rounds(values: Sequence[float], digits: int) -> dict[str, Any]:
    """The median, the range, and every round's value, rounded."""
    rounded = [round(value, digits) for value in values]
    middle = round(statistics.median(values), digits)
    return {"median": middle, "range": [min(rounded), max(rounded)], "in_rounds": rounded}


def network(path: Path | None) -> Generator:
    """The saved one, or the untrained one of the training benchmark's size."""
    if path is not None:
        return load_generator(path)[0]
    torch.manual_seed(0)
    return Generator(z_dim=512, num_classes=10, w_dim=512, resolution=32, channel_max=128).eval()


def bare(generator: Generator, labels: NDArray[np.int64], seeds: NDArray[np.int64]) -> None:
    """Sampling as generate does it, nothing else."""
    for unit in units_of(len(labels)):
        sample_images(generator, labels[unit.start : unit.stop], seeds[unit.start : unit.stop])


def encode(images: NDArray[np.uint8]) -> None:
    """PNG in as many threads as generate has, nothing else."""
    encoding = Encoding()
    with ThreadPoolExecutor(THREADS) as pool:
        units = units_of(len(images))
        list(pool.map(lambda unit: [encoding.encode(images[i]) for i in unit], units))


def small_files(count: int, data: bytes) -> None:
    """Files as a folder set has them, all the same: what the file system takes."""
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            write_whole(f"{folder}/{index}.png", data)


def write(generator: Generator, per_class: int, form: str) -> float:
    """Images a second of write_synthetic_set, all in all."""
    plan = plan_per_class(generator, per_class)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        return rate(
            int(plan.counts.sum()),
            lambda: write_synthetic_set(generator, plan, out, set_format=form),  # type: ignore[arg-type]
        )


def rate(images: int, work: Callable[[], object]) -> float:
    """Images a second."""
    start = time.perf_counter()
    work()
    return images / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
