"""Measures the evaluation: `python -m benchmarks.evaluation [--quick] [--only NAME] [--json FILE]`.

Prints, for the machine it runs on: intra-class Fréchet distances by the small problem against a dense matrix
square root per class; FID from 50,000 x 2,048 features; peak memory of streamed moments; images a second of
decoding and resizing against clean-fid's own loader on the same folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
from PIL import Image

from benchmarks.digits_judge import cpu_name
from eval import StreamingMoments, frechet_distance, frechet_distance_from_features
from eval.atomic_file import write_text
from eval.extractors.clean_resize import CleanResizer
from eval.versions import versions
from gan_lt.data import open_image_set
from gan_lt.torchvision_compat import import_torchvision

Features = np.ndarray[Any, np.dtype[np.float32]]


def main() -> None:
    """Run the measurements that were asked for and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    parser.add_argument("--only", choices=sorted(MEASUREMENTS), help="one measurement alone")
    parser.add_argument(
        "--classes-timed",
        type=int,
        default=3,
        metavar="N",
        help="classes that the dense square root is measured on; its time for all is N-th part times all (3)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results, beside those already there"
    )
    options = parser.parse_args()
    if options.classes_timed < 1:
        parser.error(f"--classes-timed is {options.classes_timed}; at least 1 class is needed")
    found: dict[str, Any] = {"machine": machine(), "quick": options.quick}
    print(json.dumps({"machine": found["machine"]}), flush=True)
    for name, measure in MEASUREMENTS.items():
        if options.only in (None, name):
            found[name] = measure(options)
            print(json.dumps({name: found[name]}), flush=True)
            if options.json is not None:
                _keep(options.json, found)


def _keep(path: Path, found: dict[str, Any]) -> None:
    """Merge with an earlier file of the same machine and sizes, so that --only can renew one measurement."""
    earlier = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    same = all(earlier.get(key) == found[key] for key in ("machine", "quick"))
    write_text(path, json.dumps({**earlier, **found} if same else found, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    cores = len(os.sched_getaffinity(0))
    return {"cpu": cpu_name(), "cores": cores, "threads": torch.get_num_threads(), **versions()}


def features(n: int, d: int, seed: int) -> Features:
    """Correlated non-negative features with a spectrum that falls off, as pooled activations have."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n, d), dtype=np.float32) * (np.arange(1, d + 1, dtype=np.float32) ** -0.5)
    turned: Features = np.maximum(mixed @ _rotation(d), 0)
    return turned


def _rotation(d: int) -> Features:
    rng = np.random.default_rng(99)
    return rng.standard_normal((d, d), dtype=np.float32) / np.float32(d**0.5)


def intra_class(options: argparse.Namespace) -> dict[str, float]:
    """100 classes of 500 images, 2,048-d: the small problem, and the dense square root on a few of the
    classes.
    """
    classes, images, dim, dense_classes = (10, 500, 2048, 1)
    if not options.quick:
        classes, dense_classes = 100, min(100, options.classes_timed)
    fast, slow, worst = 0.0, 0.0, 0.0
    for index in range(classes):
        a, b = features(images, dim, 2 * index), features(images, dim, 2 * index + 1) * np.float32(1.1)
        value, seconds = timed(partial(frechet_distance_from_features, a, b))
        fast += seconds
        if index < dense_classes:
            expected, seconds = timed(partial(dense_distance, a, b))
            slow += seconds
            worst = max(worst, abs(value - expected) / abs(expected))
    return {
        "classes": classes,
        "seconds_all_classes": round(fast, 2),
        "seconds_all_classes_dense_extrapolated": round(slow / dense_classes * classes, 1),
        "seconds_a_class": round(fast / classes, 4),
        "classes_timed_dense": dense_classes,
        "seconds_a_class_dense": round(slow / dense_classes, 2),
        "times_faster": round(slow / dense_classes / (fast / classes), 1),
        "largest_relative_difference": worst,
    }


def dense_distance(a: Features, b: Features) -> float:
    """The usual way: covariances, then a general matrix square root of their product."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    delta = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    return float(delta @ delta + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root).real)


def whole_set(options: argparse.Namespace) -> dict[str, float]:
    """FID from features of 50,000 x 2,048 on both sides."""
    n = 5_000 if options.quick else 50_000
    a, b = features(n, 2048, 1), features(n, 2048, 2)
    _, seconds = timed(lambda: frechet_distance_from_features(a, b))
    return {"images_a_side": n, "seconds": round(seconds, 2)}


def streamed(options: argparse.Namespace) -> dict[str, float]:
    """Peak memory while the moments of 100,000 x 2,048 features are gathered, in a process of its own."""
    n = 10_000 if options.quick else 100_000
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        rng = np.random.default_rng(0)
        gathered = StreamingMoments(2048)
        start = time.perf_counter()
        for _ in range(n // 500):
            gathered.update(rng.standard_normal((500, 2048), dtype=np.float32))
        value = frechet_distance(gathered.mean, gathered.covariance, gathered.mean, gathered.covariance)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(writer, json.dumps([gathered.count, time.perf_counter() - start, peak, value]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        count, seconds, peak, value = json.loads(answer.read())
    os.waitpid(child, 0)
    return {
        "images": count,
        "seconds": round(seconds, 2),
        "peak_mib": round(peak / 1024),
        "distance_to_itself": value,
    }


def loading(options: argparse.Namespace) -> dict[str, Any]:
    """Images a second of decoding and resizing to 299, against clean-fid's loader on as many workers as
    cores: medians of rounds that alternate between the two, because other load comes and goes.
    """
    import_torchvision()
    from cleanfid.utils import ResizeDataset

    cores = len(os.sched_getaffinity(0))
    result: dict[str, Any] = {}
    for side, count in ((32, 2000), (256, 500), (512, 250)):
        count = count // 4 if options.quick else count
        for suffix in ("png", "jpg"):
            with tempfile.TemporaryDirectory() as folder:
                files = _write_images(Path(folder), side, count, suffix)

                def theirs(files: list[str] = files) -> None:
                    data = ResizeDataset(files, "clean")
                    for _ in torch.utils.data.DataLoader(data, batch_size=64, num_workers=cores):
                        pass

                def ours(folder: str = folder, count: int = count) -> None:
                    images = open_image_set(folder, any_size=True)
                    resize = CleanResizer(299)
                    for start in range(0, count, 64):
                        resize(images.images(np.arange(start, min(start + 64, count))))

                ours()  # the first call compiles, or loads, the kernel
                rounds = [(timed(ours)[1], timed(theirs)[1]) for _ in range(3 if options.quick else 5)]
                fast, slow = (float(np.median(seconds)) for seconds in zip(*rounds, strict=True))
            result[f"{side}x{side} {suffix}"] = {
                "images": count,
                "images_per_second": round(count / fast),
                "clean_fid_images_per_second": round(count / slow),
                "times_faster": round(slow / fast, 2),
            }
    return result


def _write_images(folder: Path, side: int, count: int, suffix: str) -> list[str]:
    rng = np.random.default_rng(0)
    (folder / "class").mkdir()
    files = []
    for index in range(count):
        pixels = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        files.append(str(folder / "class" / f"{index}.{suffix}"))
        pixels.resize((side, side), Image.Resampling.BICUBIC).save(files[-1], quality=90)
    return files


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its seconds."""
    start = time.perf_counter()
    value = call()
    return value, time.perf_counter() - start


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "streamed_moments": streamed,
    "intra_class_frechet": intra_class,
    "frechet_of_whole_set": whole_set,
    "loading": loading,
}

if __name__ == "__main__":
    main()
