"""The command `gan-lt classifier train`."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np
from rich.console import Console

from gan_lt.classifier.losses import LOSS_NAMES
from gan_lt.classifier.network import Backbone
from gan_lt.classifier.table import print_recall
from gan_lt.classifier.training import ClassifierSettings, measure_classifier, train_classifier
from gan_lt.command_line import CommandParser
from gan_lt.data import ImageSet, open_image_set, thin_to_long_tail
from gan_lt.errors import InputError
from gan_lt.memory_reuse import keep_freed_memory
from gan_lt.models.pretrained import CONFIG_NAME
from gan_lt.progress import images_progress

REPORT_NAME = "report.json"


def classifier_parser(prog: str = "gan-lt classifier") -> argparse.ArgumentParser:
    """The options of `gan-lt classifier train`."""
    parser = CommandParser(prog=prog, description="Train a classifier on imbalanced images.")
    commands = parser.add_subparsers(dest="classifier_command", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train a classifier and print the recall of every class")
    defaults = ClassifierSettings()
    train.add_argument(
        "--data",
        metavar="DATA",
        required=True,
        help="folder with a sub-folder a class, zip, shards, list, digits, cifar10 or cifar100",
    )
    train.add_argument("--test", metavar="DATA", help="images to test on (digits, cifar: their test split)")
    train.add_argument("--outdir", metavar="OUT", type=Path, required=True, help="folder to make")
    train.add_argument("--loss", choices=LOSS_NAMES, default=defaults.loss, help="ldam is LDAM-DRW (ldam)")
    train.add_argument(
        "--epochs", metavar="N", type=int, default=defaults.epochs, help=f"passes ({defaults.epochs})"
    )
    train.add_argument(
        "--batch", metavar="N", type=int, default=defaults.batch, help=f"images a step ({defaults.batch})"
    )
    train.add_argument(
        "--lr",
        metavar="X",
        type=float,
        default=defaults.learning_rate,
        help=f"of SGD ({defaults.learning_rate})",
    )
    train.add_argument(
        "--backbone", choices=get_args(Backbone), help="resnet32 up to 64 pixels, resnet18 above"
    )
    train.add_argument(
        "--flips", action="store_true", help="mirror images at random (not for digits or text)"
    )
    train.add_argument(
        "--seed", metavar="N", type=int, default=0, help="of weights, order, crops and thinning (0)"
    )
    train.add_argument("--imbalance", metavar="R", type=float, help="thin out to n_max / n_min = R")
    train.add_argument("--profile", choices=("exp", "step"), default="exp", help="shape of the tail (exp)")
    train.add_argument("--resolution", metavar="N", type=int, help="centre-crop and resize to N x N")
    train.add_argument("--channels", type=int, choices=(1, 3), help="1 grey, 3 colour (as the images are)")
    train.add_argument(
        "--data-root",
        metavar="DIR",
        type=Path,
        help="where a copy of CIFAR lies, or a list's paths start",
    )
    train.add_argument("--skip-corrupt", action="store_true", help="leave unreadable images out")
    train.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (cuda where there is one)")
    return parser


def classifier_command(arguments: Sequence[str], prog: str = "gan-lt classifier") -> int:
    """Train, save (config.json, model.safetensors, report.json) and print the recall of every class.

    Raises:
        InputError: bad input, in one line for the person who typed it.
    """
    args = classifier_parser(prog).parse_args(arguments)
    from gan_lt.training.device import choose_device

    settings = ClassifierSettings(
        loss=args.loss,
        epochs=args.epochs,
        batch=args.batch,
        learning_rate=args.lr,
        backbone=args.backbone,
        horizontal_flips=args.flips,
        seed=args.seed,
    )
    if args.outdir.is_file() or (args.outdir / CONFIG_NAME).exists():
        raise InputError(f"--outdir {args.outdir} exists: choose another name, or remove it")
    device = choose_device(args.device)
    train_set, test_set = _open_sets(args)
    console = Console(stderr=True)
    if device.type == "cpu":
        keep_freed_memory()
    with images_progress(console) as progress:
        bar = progress.add_task("training", total=settings.epochs * len(train_set))
        network = train_classifier(train_set, settings, device, lambda n: progress.advance(bar, n))
    report = measure_classifier(network, train_set if test_set is None else test_set)
    network.save_pretrained(args.outdir)
    seen = "the training images themselves" if test_set is None else test_set.name
    document = {"tested_on": seen, "class_names": list(train_set.class_names), "settings": asdict(settings)}
    _write_json(args.outdir / REPORT_NAME, document | report.as_dict())
    print_recall(report, train_set.class_names, train_set.counts.tolist(), f"recall on {seen}")
    if test_set is None:
        console.print("no --test: recall on training images says nothing about new ones", style="yellow")
    console.print(f"{args.outdir}: saved", soft_wrap=True)
    return 0


def _open_sets(args: argparse.Namespace) -> tuple[ImageSet, ImageSet | None]:
    train_set = open_image_set(
        args.data,
        resolution=args.resolution,
        channels=args.channels,
        data_root=args.data_root,
        skip_corrupt=args.skip_corrupt,
        option="--data",
    )
    test = args.test
    if test is None and args.data.partition(":")[0] in ("digits", "cifar10", "cifar100"):
        test = f"{args.data.partition(':')[0]}:test" if not args.data.endswith(":test") else None
    if args.imbalance is not None:
        train_set = thin_to_long_tail(train_set, args.imbalance, args.profile, args.seed)
    if test is None:
        return train_set, None
    test_set = open_image_set(
        test,
        resolution=train_set.resolution,
        channels=train_set.channels,
        split="test",
        data_root=args.data_root,
        skip_corrupt=args.skip_corrupt,
        option="--test",
    )
    return train_set, _in_order_of(train_set, test_set, test)


def _in_order_of(train_set: ImageSet, test_set: ImageSet, shown: str) -> ImageSet:
    """The test set with the training set's classes, by name, in its order."""
    place = {name: k for k, name in enumerate(train_set.class_names)}
    unknown = [name for name in test_set.class_names if name not in place]
    if unknown:
        raise InputError(f"--test {shown}: class {unknown[0]!r} is not in --data; rename it or leave it out")
    order = np.array([place[name] for name in test_set.class_names])
    return ImageSet(
        name=test_set.name,
        class_names=train_set.class_names,
        labels=order[test_set.labels],
        ids=test_set.ids,
        resolution=test_set.resolution,
        channels=test_set.channels,
        pixels=test_set.pixels,
        skipped=test_set.skipped,
    )


def _write_json(path: Path, document: dict[str, object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(document, indent=2) + "\n")
    os.replace(temporary, path)
