"""The command `gan-lt dataset`: inspect and convert."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from gan_lt.data.convert import convert
from gan_lt.data.image_set import ImageSet
from gan_lt.data.inspect import inspect, print_summary
from gan_lt.data.long_tail import thin_to_long_tail
from gan_lt.data.opening import NAMED_SETS, open_image_set
from gan_lt.errors import InputError


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser of `gan-lt dataset` its sub-commands, `inspect DATA` and `convert DATA OUT.zip`."""
    commands = parser.add_subparsers(dest="dataset_command", required=True, metavar="COMMAND")
    inspect_parser = commands.add_parser(
        "inspect", help="print classes, imbalance, shot groups, sizes, and the preset that fits"
    )
    convert_parser = commands.add_parser("convert", help="write a zip of PNG files with dataset.json")
    for command in (inspect_parser, convert_parser):
        command.add_argument(
            "data",
            metavar="DATA",
            help=f"folder with a sub-folder a class, zip, WebDataset shards, list, or {', '.join(NAMED_SETS)}",
        )
    convert_parser.add_argument("out", metavar="OUT.zip", type=Path, help="the zip to write")
    convert_parser.add_argument("--force", action="store_true", help="overwrite OUT.zip if it exists")
    for command in (inspect_parser, convert_parser):
        _add_opening_options(command)


def run_dataset_command(args: argparse.Namespace) -> int:
    """Run what ``add_dataset_arguments`` parsed; 0 when done.

    Raises:
        InputError: bad input, in one line for the person who typed it.
    """
    if args.dataset_command == "inspect":
        print_summary(inspect(_open(args)))
        return 0
    # Before minutes of decoding, not after.
    if args.out.exists() and not args.force:
        raise InputError(f"output {args.out} exists: choose another name, or pass --force to overwrite it")
    image_set = _open(args)
    console = Console(stderr=True)
    columns = ("converting", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(image_set))
        convert(image_set, args.out, force=args.force, progress=lambda n: bar.advance(task, n))
    size = args.out.stat().st_size / 2**20
    print(f"{args.out}: {len(image_set):,} images in {image_set.num_classes:,} classes, {size:.1f} MiB")
    return 0


def _add_opening_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resolution",
        type=int,
        metavar="N",
        help="cut the centred square and resize it to NxN, a power of two, 8 to 1024 (default: as it is)",
    )
    parser.add_argument(
        "--channels",
        type=int,
        choices=(1, 3),
        help="1 for gray, 3 for RGB (default: RGB if any image has colour)",
    )
    parser.add_argument(
        "--imbalance",
        type=float,
        metavar="R",
        help="thin out to a long tail: commonest over rarest class",
    )
    parser.add_argument(
        "--profile", choices=("exp", "step"), default="exp", help="the shape of the tail (default: exp)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="which images --imbalance keeps (default: 0)"
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="where a copy of CIFAR lies on disk; where the paths of a list start",
    )
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="leave out images that can't be decoded, and list them"
    )


def _open(args: argparse.Namespace) -> ImageSet:
    image_set = open_image_set(
        args.data,
        resolution=args.resolution,
        channels=args.channels,
        data_root=args.data_root,
        skip_corrupt=args.skip_corrupt,
        option="DATA",
    )
    if args.imbalance is None:
        return image_set
    return thin_to_long_tail(image_set, args.imbalance, args.profile, args.seed)
