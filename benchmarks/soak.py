"""Does anything grow? `python -m benchmarks.soak [--minutes 30] [--json FILE]`.

One process trains a tiny run, goes on with it, generates a set and evaluates it, again and again, and records its
resident memory and open files after each round. After the warm-up, the first fifth of the time, both must be flat: the
means of the first and the last fifth of what remains may differ by 2%. Status 1 otherwise.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.digits_judge import cpu_name
from benchmarks.faults import TINY, make_data
from eval.atomic_file import write_text
from eval.versions import versions

LIMIT = 0.02
COUNTS = (150, 60, 30)


def main() -> int:
    """Go round until the time is over; print how much memory and files grew, and write it with --json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, metavar="N", help="how long (30)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was recorded")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes is {options.minutes}; it must be over 0")
    rounds: list[dict[str, float]] = []
    start = time.monotonic()
    while (seconds := time.monotonic() - start) < 60 * options.minutes or len(rounds) < 10:
        with tempfile.TemporaryDirectory() as folder:
            train_generate_evaluate(Path(folder), seed=len(rounds))
        gc.collect()
        rounds.append({"seconds": round(seconds, 1), "rss_mib": rss_mib(), "files": open_files()})
    growth = {name: grown([row[name] for row in rounds]) for name in ("rss_mib", "files")}
    for name, unit in (("rss_mib", "MiB resident"), ("files", "open files")):
        values = [row[name] for row in rounds]
        print(
            f"{unit}: {values[0]:.1f} after the first of {len(rounds)} rounds, {values[-1]:.1f} after the last; "
            f"grown by {growth[name]:.2%} after warm-up ({'flat' if abs(growth[name]) <= LIMIT else 'NOT FLAT'})"
        )
    if options.json is not None:
        machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.platform(), **versions()}
        account = {"machine": machine, "minutes": options.minutes, "growth": growth, "rounds": rounds}
        write_text(options.json, json.dumps(account) + "\n")
    return int(any(abs(value) > LIMIT for value in growth.values()))


def train_generate_evaluate(place: Path, seed: int) -> None:
    """One round of what a person does, in this process."""
    from eval import evaluate
    from gan_lt.commands import generate_command, train_command

    data = make_data(place / "data.zip", COUNTS)
    run, out = place / "runs" / "run", place / "set"
    new = ["--data", str(data), "--outdir", str(run.parent), "--name", run.name, "--seed", str(seed)]
    _must(train_command, [*new, "--device", "cpu", *TINY, "training.kimg=2"])
    _must(train_command, ["--resume", str(run), "--kimg", "4", "--device", "cpu"])
    _must(
        generate_command,
        ["--network", str(run), "--outdir", str(out), "--per-class", "60", "--device", "cpu"],
    )
    evaluate(
        str(data),
        str(out),
        features=pixels,
        metrics="fid,kid,prdc,ifid,balance,memorization",
        train=str(data),
        seed=seed,
        json=place / "report.json",
        report=place / "report.html",
    )


def _must(command: Any, arguments: Sequence[str]) -> None:
    status = command(arguments)
    if status != 0:
        raise RuntimeError(f"status {status} from {command.__name__} {list(arguments)}")


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels as features, float32 [n, C H W] in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def rss_mib() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 2)


def open_files() -> int:
    """Open file handles of this process."""
    return len(os.listdir("/proc/self/fd"))


def grown(values: Sequence[float]) -> float:
    """The last fifth's mean over the first fifth's, less one, of the values after the first fifth.

    >>> grown([5, 9, 10, 10, 10, 10, 10, 10, 10, 11])
    0.1
    """
    settled = values[len(values) // 5 :]
    fifth = max(1, len(settled) // 5)
    first, last = np.mean(settled[:fifth]), np.mean(settled[-fifth:])
    return round(float(last / first) - 1, 6)


if __name__ == "__main__":
    sys.exit(main())
