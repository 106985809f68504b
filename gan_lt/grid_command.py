"""`gan-lt grid`: one picture of what a network does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from gan_lt.command_line import CommandParser
from gan_lt.errors import InputError


def grid_parser(prog: str = "gan-lt grid") -> argparse.ArgumentParser:
    """The options of `gan-lt grid`."""
    parser = CommandParser(
        prog=prog, description="Draw samples, interpolations or a sweep of truncation, a row a class."
    )
    parser.add_argument(
        "--network", metavar="RUN|DIR|FILE", type=Path, required=True, help="a run or a saved network"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="picture to make (.png)")
    parser.add_argument(
        "--kind",
        choices=("classes", "interpolation", "truncation"),
        default="classes",
        help="samples; from one sample to another; psi from 0 to --truncation (classes)",
    )
    parser.add_argument("--columns", metavar="N", type=int, default=8, help="images a row (8)")
    parser.add_argument("--classes", metavar="A,B", help="these rows only")
    parser.add_argument("--truncation", metavar="PSI", type=float, default=1.0, help="1: all the variety (1)")
    parser.add_argument("--scale", metavar="N", type=int, default=1, help="enlarge N times (1)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="the same seed, the same images (0)")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (cuda where there is one)")
    return parser


def grid_command(arguments: Sequence[str], prog: str = "gan-lt grid") -> int:
    """Draw and save; an existing picture is replaced."""
    args = grid_parser(prog).parse_args(arguments)
    from PIL import Image

    from gan_lt.sampling import class_pictures, interpolation_pictures, load_generator, truncation_pictures
    from gan_lt.sampling.truncation import psi_per_class
    from gan_lt.training.device import choose_device

    if args.out.suffix != ".png":
        raise InputError(f"--out: {args.out} must be called something.png")
    if args.scale < 1:
        raise InputError(f"--scale: {args.scale} must be at least 1")
    psi_per_class(args.truncation, ())
    generator, _ = load_generator(args.network)
    generator.to(choose_device(args.device))
    draw = {
        "classes": class_pictures,
        "interpolation": interpolation_pictures,
        "truncation": truncation_pictures,
    }[args.kind]
    classes = None if args.classes is None else [name for name in args.classes.split(",") if name]
    picture = Image.fromarray(draw(generator, args.columns, args.seed, args.truncation, classes))
    size = (picture.width * args.scale, picture.height * args.scale)
    temporary = args.out.with_name(f".{args.out.name}.{os.getpid()}")
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        picture.resize(size, Image.Resampling.NEAREST).save(temporary, "PNG")
        os.replace(temporary, args.out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"--out: {args.out} can't be written ({error.strerror or error}); choose another place"
        ) from error
    rows = picture.height // generator.resolution
    Console(stderr=True).print(
        f"{args.out}: {rows} rows of {args.columns} images, {size[0]}x{size[1]} pixels", soft_wrap=True
    )
    return 0
