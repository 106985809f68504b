"""What a large class table costs: a training step with 10 and with 10,000 classes, in alternation.

    python -m benchmarks.classes [--classes 10,10000] [--resolution 32] [--channels 128] [--batch 32] [--json FILE]

The counts are synthetic, a long tail; NoisyTwins and gSR run, so their per-class work is in the step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.digits_judge import cpu_name
from gan_lt.config import build_config
from gan_lt.data import ImageSet
from gan_lt.training.loop import training_step
from gan_lt.training.monitor import Averages
from gan_lt.training.state import TrainingState


def state_of(
    classes: int, resolution: int, channels: int, batch: int, regularizers: list[str]
) -> TrainingState:
    """A training on random images, one a class and more of the first classes."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), np.minimum(rng.geometric(0.01, classes), classes) - 1])
    tile = rng.integers(0, 256, (64, 3, resolution, resolution), dtype=np.uint8)
    pixels = tile[np.arange(len(labels)) % len(tile)]
    images = ImageSet.from_arrays(pixels, labels, [str(k) for k in range(classes)])
    config = build_config(
        "custom",
        {
            "generator.channel_base": channels * resolution,
            "generator.channel_max": channels,
            "training.batch": batch,
            "regularizers": regularizers,
        },
    )
    return TrainingState(config, images, torch.device("cpu"))


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classes", description=__doc__.split("\n")[0])
    parser.add_argument("--classes", default="10,10000")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=32, help="of each, in pairs")
    parser.add_argument("--regularizers", default="noisytwins,gsr", help="none for none")
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    numbers = [int(text) for text in args.classes.split(",")]
    methods = [] if args.regularizers == "none" else args.regularizers.split(",")
    states = {n: state_of(n, args.resolution, args.channels, args.batch, methods) for n in numbers}
    seconds: dict[int, list[float]] = {n: [] for n in numbers}
    averages = Averages()
    for index in range(args.steps + 2):
        for n, state in states.items():
            start = time.perf_counter()
            training_step(state, averages)
            if index >= 2:
                seconds[n].append(time.perf_counter() - start)
    medians = {n: statistics.median(values) for n, values in seconds.items()}
    first = medians[numbers[0]]
    print(
        f"{cpu_name()}, {torch.get_num_threads()} threads; {args.resolution}x{args.resolution}, batch {args.batch}"
    )
    for n, median in medians.items():
        print(f"{n:>8,} classes: {1e3 * median:8.1f} ms a step, {median / first - 1:+.1%}")
    if args.json is not None:
        result = {"machine": cpu_name(), "threads": torch.get_num_threads(), "seconds": medians}
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
