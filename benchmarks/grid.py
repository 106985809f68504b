"""The pictures in README and docs: python -m benchmarks.grid RUN OUT.png [--columns 16] [--scale 2]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from gan_lt.commands import run_command
from gan_lt.sampling import load_generator
from gan_lt.training.monitor import sample_grid


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grid", description="A row a class, rarest last, as PNG."
    )
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("out", type=Path, metavar="OUT.png")
    parser.add_argument("--columns", type=int, default=16)
    parser.add_argument("--scale", type=int, default=2)
    args = parser.parse_args(arguments)
    generator, _ = load_generator(args.run)
    grid = Image.fromarray(sample_grid(generator, args.columns))
    size = (grid.width * args.scale, grid.height * args.scale)
    grid.resize(size, Image.Resampling.NEAREST).save(args.out, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
