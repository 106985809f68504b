"""What the methods cost: a training step with each set of them, in alternation, at the size of benchmarks.step.

    python -m benchmarks.methods [--methods none,gsr,noisytwins,noisytwins+gsr,noisytwins+gsr+cbgan] [--rounds 5] [--json FILE]

32x32, 128 channels, ten classes, batch 32; a round is 16 steps of each set, one set's step after the other's, so terms
that come every few steps are amortised. Each set's cost is the median, over rounds, of its time beside that of the first
set in the same round. CBGAN's classifier is a ResNet-32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.digits_judge import cpu_name
from gan_lt.classifier import Classifier
from gan_lt.config import build_config
from gan_lt.data import ImageSet
from gan_lt.training.loop import training_step
from gan_lt.training.monitor import Averages
from gan_lt.training.state import TrainingState

CLASSES, STEPS = 10, 16
SETS = "none,gsr,noisytwins,noisytwins+gsr,noisytwins+gsr+cbgan"


def state_of(
    methods: list[str], classifier: Path, resolution: int, channels: int, batch: int
) -> TrainingState:
    """A training on random images of ten classes with the methods."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (512, 3, resolution, resolution), dtype=np.uint8)
    images = ImageSet.from_arrays(pixels, np.arange(512) % CLASSES, [str(k) for k in range(CLASSES)])
    settings = {
        "generator.channel_base": channels * resolution,
        "generator.channel_max": channels,
        "training.batch": batch,
        "regularizers": methods,
    }
    if "cbgan" in methods:
        settings["cbgan.classifier"] = str(classifier)
    return TrainingState(build_config("custom", settings), images, torch.device("cpu"))


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__.split("\n")[0])
    parser.add_argument("--methods", default=SETS, help=f"sets of methods; the first is the measure ({SETS})")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args(arguments)
    names = args.methods.split(",")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        Classifier(
            CLASSES, resolution=args.resolution, img_channels=3, class_names=[str(k) for k in range(CLASSES)]
        ).save_pretrained(Path(folder) / "C")
        states = {
            name: state_of(
                [] if name == "none" else name.split("+"),
                Path(folder) / "C",
                args.resolution,
                args.channels,
                args.batch,
            )
            for name in names
        }
    averages = Averages()
    for index in range(args.rounds + 1):
        spent = dict.fromkeys(names, 0.0)
        for _ in range(STEPS):
            # step by step, so that a machine that slows down does so for all
            for name, state in states.items():
                start = time.perf_counter()
                training_step(state, averages)
                spent[name] += time.perf_counter() - start
        if index:  # the first round allocates
            for name, sum_of_round in spent.items():
                seconds[name].append(sum_of_round / STEPS)
    print(
        f"{cpu_name()}, {torch.get_num_threads()} threads; {args.resolution}x{args.resolution}, "
        f"{args.channels} channels, batch {args.batch}"
    )
    first = seconds[names[0]]
    cost = {
        name: statistics.median(a / b - 1 for a, b in zip(values, first, strict=True))
        for name, values in seconds.items()
    }
    for name, values in seconds.items():
        print(f"{name:<24} {1e3 * statistics.median(values):8.1f} ms a step, {cost[name]:+.1%}")
    if args.json is not None:
        result = {
            "machine": cpu_name(),
            "threads": torch.get_num_threads(),
            "seconds": {name: statistics.median(values) for name, values in seconds.items()},
            "cost": cost,
        }
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
