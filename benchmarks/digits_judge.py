"""How good are the digits of `make demo`? Recognition, diversity and coverage, class by class and seed by seed.

    python -m benchmarks.digits_judge [--seeds 0,1,2] [--precision fp32|bf16] [--outdir runs/judge] [--json FILE]

For every seed the preset digits-lt is trained (unless that run is there already) and 200 images of every class are judged:

- recognition: the share that a logistic regression, fitted on all of scikit-learn's digits at 8x8, takes for their class;
- diversity: their mean pairwise pixel distance over that of the held-out real images of the class;
- coverage: the share of held-out images with a generated one nearer than their 5th nearest held-out neighbour.

One good image per class would be recognised always and cover nothing, so the three belong together. Two rows that learn
nothing stand beside the networks: copies of the training images, and mixtures of pairs of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from gan_lt.commands import run_command, train_command
from gan_lt.config import build_config
from gan_lt.data import ImageSet, open_image_set
from gan_lt.sampling import load_generator, plan_per_class, sample_images
from gan_lt.sampling.plan import image_seeds
from gan_lt.training.dataset import open_training_set

PER_CLASS = 200
COMMON, RARE = slice(0, 4), slice(7, 10)

Scores = dict[str, list[float]]


def cpu_name() -> str:
    """The processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def fit_judge() -> LogisticRegression:
    """A logistic regression on all 1,797 digits at 8x8, pixels in [0, 1]."""
    digits = load_digits()
    return LogisticRegression(max_iter=5000).fit(digits.data / 16, digits.target)


def pairwise(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Euclidean distances [n, m] between rows."""
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squared, 0))


def judge(
    images: NDArray[np.uint8], labels: NDArray[np.int64], held_out: ImageSet, model: LogisticRegression
) -> Scores:
    """Scores of each class; images uint8 [N, 1, 16, 16]."""
    small = images.reshape(len(images), 8, 2, 8, 2).mean(axis=(2, 4)).reshape(len(images), 64) / 255
    right = model.predict(small) == labels
    pixels = images.reshape(len(images), -1).astype(np.float64)
    real_pixels = held_out.images().reshape(len(held_out), -1).astype(np.float64)
    scores: Scores = {"recognition": [], "diversity": [], "coverage": []}
    for k in range(held_out.num_classes):
        fake, real = pixels[labels == k], real_pixels[held_out.labels == k]
        among_fake, among_real = pairwise(fake, fake), pairwise(real, real)
        mean_fake = among_fake.sum() / (len(fake) * (len(fake) - 1))
        mean_real = among_real.sum() / (len(real) * (len(real) - 1))
        fifth = np.sort(among_real, axis=1)[:, 5]  # column 0 is the image itself
        scores["recognition"].append(float(right[labels == k].mean()))
        scores["diversity"].append(float(mean_fake / mean_real))
        scores["coverage"].append(float((pairwise(real, fake).min(axis=1) < fifth).mean()))
    return scores


def copies(train: ImageSet, mix: bool, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """200 training images of every class, drawn with replacement; mix: of pairs, each with its own share."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(train.num_classes), PER_CLASS)
    members = [np.flatnonzero(train.labels == k) for k in range(train.num_classes)]

    def draw() -> NDArray[np.float64]:
        indices = np.concatenate([rng.choice(members[k], PER_CLASS) for k in range(train.num_classes)])
        return train.images()[indices].astype(np.float64)

    images = draw()
    if mix:
        share = rng.random((len(images), 1, 1, 1))
        images = images * share + draw() * (1 - share)
    return images.round().astype(np.uint8), labels


def print_row(name: str, scores: Scores) -> None:
    """Per class, rarest last, then the means that matter."""
    for measure, values in scores.items():
        classes = " ".join(f"{v:.2f}" for v in values)
        array = np.asarray(values)
        print(
            f"{name:<16} {measure:<11} {classes} | mean {array.mean():.3f} common4 {array[COMMON].mean():.2f} "
            f"rare3 {array[RARE].mean():.2f} min {array[RARE].min():.2f}"
        )


def verdict(scores: Scores) -> list[str]:
    """What falls short of the wanted figures, in words."""
    recognition, diversity, coverage = (
        np.asarray(scores[m]) for m in ("recognition", "diversity", "coverage")
    )
    checks = [
        ("mean recognition", recognition.mean(), 0.95),
        ("lowest recognition of the rarest three", recognition[RARE].min(), 0.85),
        ("mean diversity", diversity.mean(), 0.7),
        ("lowest diversity of the rarest three", diversity[RARE].min(), 0.5),
        ("coverage of the common four", coverage[COMMON].mean(), 0.7),
        ("coverage of the rarest three", coverage[RARE].mean(), 0.5),
    ]
    return [f"{name} {value:.3f} is under {wanted}" for name, value, wanted in checks if value < wanted]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.digits_judge", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of training")
    parser.add_argument("--outdir", type=Path, default=Path("runs/judge"))
    parser.add_argument("--networks", metavar="RUN,...", help="judge these instead of training")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    if args.networks:
        runs = {Path(name).name: Path(name) for name in args.networks.split(",")}
    else:
        runs = {f"seed {seed}": args.outdir / f"seed-{seed}" for seed in args.seeds.split(",")}
        for name, run in runs.items():
            if not (run / "network").is_dir():
                seed = name.split()[1]
                options = [
                    "--preset",
                    "digits-lt",
                    "--seed",
                    seed,
                    "--outdir",
                    str(run.parent),
                    "--name",
                    run.name,
                    f"training.precision={args.precision}",
                ]
                train_command(options)
    held_out = open_image_set("digits:test", resolution=16)
    train = open_training_set(build_config("digits-lt", {}).data)
    model = fit_judge()
    machine = f"{cpu_name()}, {os.cpu_count()} cores, torch {torch.__version__}"
    print(f"{PER_CLASS} images a class; {machine}")
    print(f"{'':<16} {'':<11} {' '.join(f'{name:>4}' for name in held_out.class_names)}")
    rows = {"copies": judge(*copies(train, mix=False), held_out, model)}
    rows["mixed pairs"] = judge(*copies(train, mix=True), held_out, model)
    for name, run in runs.items():
        generator, _ = load_generator(run)
        plan = plan_per_class(generator, PER_CLASS)
        images = sample_images(generator, plan.labels, image_seeds(0, plan.labels, plan.indices))
        rows[name] = judge(images, plan.labels, held_out, model)
    for name, scores in rows.items():
        print_row(name, scores)
    for name in runs:
        short = verdict(rows[name])
        print(f"{name}: {'; '.join(short) if short else 'all wanted figures reached'}")
    if args.json:
        args.json.write_text(
            json.dumps({"machine": machine, "per_class": PER_CLASS, "rows": rows}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
