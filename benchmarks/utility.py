"""Does the synthetic data help a classifier? The four arms of the utility study for one network, as a table for docs.

    python -m benchmarks.utility --network RUN [--train DATA|RUN] --test DATA [--seeds 0,1,2] [--markdown FILE]

Trains the same classifier on (a) the real training images, (b) the same augmented and sampled class-balanced, (c) the
real ones topped up with synthetic ones to the size of the largest class, (d) synthetic ones alone, and tests on real
images that no training saw. Every arm sees equally many images. What is trained is kept, by arm and seed, in --cache: an
interrupted study goes on where it stopped, and another network shares the arms without synthetic images.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.digits_judge import cpu_name
from eval.alignment import align
from eval.atomic_file import write_text
from eval.cache import FeatureCache
from eval.progress import Progress
from eval.sources import SourceOptions, open_source
from eval.training_set import run_folder, training_set_of_run
from eval.utility import MEASURES, UtilitySettings, utility_study, verdict
from eval.versions import versions
from gan_lt.commands import run_command
from gan_lt.errors import InputError

HEADINGS = {
    "balanced_accuracy": "balanced accuracy",
    "worst_recall": "worst class",
    "harmonic_recall": "harmonic mean",
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.utility", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--network", required=True, metavar="RUN", help="run, saved generator or made images")
    parser.add_argument("--train", metavar="DATA|RUN", help="real training images (those of the run)")
    parser.add_argument("--test", required=True, metavar="DATA", help="real test images, balanced")
    parser.add_argument("--seeds", default="0,1,2", help="one training an arm for each (0,1,2)")
    parser.add_argument("--images-seen", type=int, metavar="N", help="by each training (60 a real image)")
    parser.add_argument("--truncation", type=float, default=1.0, metavar="PSI")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch (1)")
    parser.add_argument("--cache", type=Path, default=Path("runs/utility"), metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every number, class and seed")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table as printed")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    study = run_study(args)
    table = markdown(study)
    print(table, end="")
    if args.json is not None:
        write_text(args.json, json.dumps(study, indent=1) + "\n")
    if args.markdown is not None:
        write_text(args.markdown, table)
    return 0


def run_study(args: argparse.Namespace) -> dict[str, Any]:
    """The study with what it was run on; JSON-ready."""
    started = time.monotonic()
    train_spec = args.train or run_folder(args.network)
    if train_spec is None:
        raise InputError(f"--train is missing: {args.network} is no run that knows its training images")
    run = run_folder(train_spec)
    if run is None:
        train = open_source(train_spec, SourceOptions("--train", "train"))
    else:
        train = training_set_of_run(run)
    largest = int(train.counts.max())
    fake = open_source(
        args.network,
        SourceOptions("--network", num_fake=largest, truncation_psi=args.truncation, made_only=True),
        train,
    )
    test = open_source(args.test, SourceOptions("--test", "test", resolution=fake.resolution))
    fake, train = align(test, fake).fake, align(test, train).fake
    seen = set(map(bytes, train.read(np.arange(len(train)))))
    both = sum(bytes(image) in seen for image in test.read(np.arange(len(test))))
    if both > len(test) // 100:
        raise InputError(f"--test {args.test}: {both} of its images are training images; give held-out ones")
    notes = [f"{both} test images are training images as well"] if both else []
    study = utility_study(
        train,
        fake,
        test,
        UtilitySettings(images_seen=args.images_seen),
        training_seeds=_seeds(args.seeds),
        cache=FeatureCache(args.cache),
        warnings=notes,
        progress=Progress(True),
    )
    study["verdict"] = verdict(study)
    study["images"] = {
        "network": str(args.network),
        "train": train.name,
        "test": test.name,
        "train_counts": train.counts.tolist(),
        "test_counts": test.counts.tolist(),
    }
    study["machine"] = {"cpu": cpu_name(), "cores": os.cpu_count(), "threads": args.threads, **versions()}
    study["seconds"] = round(time.monotonic() - started, 1)
    study["notes"] = notes
    return study


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--seeds: {text!r} must be whole numbers with commas between, as 0,1,2") from None


def markdown(study: dict[str, Any]) -> str:
    """The four arms as a table, the verdict, and a sentence on how it was measured."""
    settings, machine = study["settings"], study["machine"]
    lines = [
        "| trained on | images | epochs | " + " | ".join(HEADINGS[name] for name in MEASURES) + " |",
        "| --- | ---: | ---: |" + " ---: |" * len(MEASURES),
    ]
    for arm in study["arms"].values():
        cells = []
        for name in MEASURES:
            low, high = arm["intervals"][name]
            cells.append(f"{100 * arm[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})")
        row = [arm["title"], f"{arm['n_train']:,}", f"{arm['epochs']:.3g}", *cells]
        lines.append("| " + " | ".join(row) + " |")
    rarest = sorted(
        range(len(study["images"]["train_counts"])), key=study["images"]["train_counts"].__getitem__
    )
    names = list(study["top_up"])
    lines += [
        "",
        study["verdict"],
        "",
        "Recall of the three rarest classes, in percent:",
        "",
        "| trained on | " + " | ".join(names[k] for k in rarest[:3]) + " |",
        "| --- |" + " ---: |" * len(rarest[:3]),
    ]
    for arm in study["arms"].values():
        recalls = [f"{100 * arm['per_class'][names[k]]:.1f}" for k in rarest[:3]]
        lines.append("| " + " | ".join([arm["title"], *recalls]) + " |")
    flips = "crops and flips" if settings["flips"] else "crops"
    lines += [
        "",
        f"In percent, with 95 % intervals over test images and trainings. {settings['seeds']} trainings an arm, each of "
        f"{settings['images_seen']:,} images at {settings['resolution']}x{settings['resolution']}; augmentation: {flips}; "
        f"tested on {settings['n_test']:,} real images. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['threads']} thread(s), torch {machine['torch']}.",
        "",
        *study["notes"],
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
