"""Do the long-tail methods help rare classes? The same budget, network and judge for all, over seeds.

    python -m benchmarks.longtail --data digits --methods baseline,balanced,noise,noisytwins,gsr,cbgan,all --seeds 0,1,2
    python -m benchmarks.longtail --data TRAIN.zip --test TEST.zip --preset cifar10-lt --kimg 500 --methods ... \
        generator.channel_max=128

Every cell (one method, one seed) is a run of its own in OUTDIR, trained by the ordinary trainer and measured once. Stopped
by Ctrl-C or SIGTERM it keeps a checkpoint, and the same command goes on where it was. All methods get the first seed, then
the second, so that a table exists early; it is written again after every cell. --markdown, --json and --plots say where.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.digits_judge import cpu_name
from benchmarks.longtail_cells import Grid, open_grid, train_cell
from benchmarks.longtail_measuring import Judge, measure_cell, measure_copies, open_judge
from benchmarks.longtail_methods import METHODS, Method, parse_methods
from benchmarks.longtail_plots import plot_classes, plot_curves
from benchmarks.longtail_tables import COPIES, Cell, markdown, verdict
from eval.atomic_file import write_text
from eval.sources import source_of_set
from gan_lt.command_line import CommandParser
from gan_lt.commands import run_command
from gan_lt.data import open_image_set
from gan_lt.errors import InputError
from gan_lt.training.device import choose_device

STOPPED = 130


def grid_parser() -> argparse.ArgumentParser:
    """The options of the benchmark."""
    parser = CommandParser(
        prog="python -m benchmarks.longtail",
        description=(__doc__ or "").split("\n")[0],
        epilog="Any setting of config.yaml can be given for all cells as dotted.name=value.",
    )
    parser.add_argument("--data", required=True, metavar="DATA", help="training images, as for train.py")
    parser.add_argument("--test", metavar="DATA", help="balanced test images (digits, cifar: their own)")
    parser.add_argument("--resolution", type=int, metavar="N", help="centre-crop and resize to N x N")
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="where a copy of CIFAR lies; where a list's paths start"
    )
    parser.add_argument(
        "--methods",
        default="baseline,balanced,noise,noisytwins,gsr,cbgan,all",
        metavar="A,B",
        help=f"out of {', '.join(METHODS)}, or joined: noisytwins+gsr+sqrt",
    )
    parser.add_argument("--seeds", default="0,1,2", metavar="N,N")
    parser.add_argument("--kimg", type=float, metavar="N", help="thousands of images a cell (the preset's)")
    parser.add_argument(
        "--preset", metavar="P", help="settings of all cells (digits-lt for digits, else custom)"
    )
    parser.add_argument("--outdir", type=Path, default=Path("runs/longtail"), metavar="DIR")
    parser.add_argument(
        "--per-class", type=int, metavar="N", help="images to judge of every class (200; 500 but for digits)"
    )
    parser.add_argument(
        "--classifier-epochs", type=int, default=200, metavar="N", help="of CBGAN's classifier (200)"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (cuda where there is one)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--plots", type=Path, metavar="DIR")
    parser.add_argument("overrides", nargs="*", metavar="name=value")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the grid. Status 0; 1 with failed cells; 130 when stopped; 2 for bad input."""
    args = grid_parser().parse_intermixed_args(arguments)
    # the messages about images name these options, as those of train.py do
    for name, value in (("data.resolution", args.resolution), ("data.root", args.data_root)):
        if value is not None:
            args.overrides.append(f"{name}={value}")
    methods, seeds = parse_methods(args.methods), parse_seeds(args.seeds)
    digits = args.data == "digits"
    preset = args.preset or ("digits-lt" if digits else "custom")
    grid = open_grid(
        args.data, preset, args.overrides, args.kimg, args.outdir, args.device, args.classifier_epochs
    )
    for method in methods:
        grid.cell_config(method, seeds[0])  # a wrong setting shows before hours of training
    per_class = args.per_class if args.per_class is not None else (200 if digits else 500)
    judge = _open_judge(args, grid, per_class)
    rows: dict[str, list[Cell]] = {name: [] for name in [*(method.name for method in methods), *COPIES]}
    for name, mix in COPIES.items():
        for seed in seeds:
            rows[name].append(Cell(name, seed, measure_copies(judge, mix, seed, args.outdir)))
    facts = _facts(arguments, args, grid, judge, seeds)
    stopped = False
    for method, seed in [(method, seed) for seed in seeds for method in methods]:
        cell = run_cell(grid, judge, method, seed)
        stopped = cell is None
        if cell is None:
            break
        rows[method.name].append(cell)
        _write(args, grid, rows, facts)
    _write(args, grid, rows, facts)
    print(markdown(rows, facts) if args.markdown is None else "\n".join(verdict(rows)))
    if stopped:
        print("stopped; the same command goes on", file=sys.stderr)
        return STOPPED
    return 1 if any(cell.error is not None for row in rows.values() for cell in row) else 0


def run_cell(grid: Grid, judge: Judge, method: Method, seed: int) -> Cell | None:
    """Train and measure one cell; a failure is a result as well. None: stopped by a signal."""
    try:
        if not train_cell(grid, method, seed):
            return None
        return Cell(method.name, seed, measure_cell(judge, grid.run(method, seed)))
    except InputError as error:
        return Cell(method.name, seed, error=str(error))
    except Exception as error:  # one broken method must not cost the others their night; the table names it
        traceback.print_exc()
        return Cell(method.name, seed, error=f"{type(error).__name__}: {error}")


def parse_seeds(text: str) -> list[int]:
    """Seeds from "0,1,2"; raises InputError for anything but different whole numbers from 0."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise InputError(f"--seeds: {text!r} must be different whole numbers, 0 or more, as in 0,1,2")
    return [int(part) for part in parts]


def _open_judge(args: argparse.Namespace, grid: Grid, per_class: int) -> Judge:
    test = args.test
    if test is None:
        named = args.data.partition(":")[0]
        if named not in ("digits", "cifar10", "cifar100"):
            raise InputError(f"--test is missing: pass balanced images of the classes of {args.data}")
        test = f"{named}:test"
    data = grid.train
    roots = [Path(t.partition("=")[2]) for t in grid.overrides if t.startswith("data.root=")]
    root = roots[-1] if roots else None  # as in training the last one counts
    images = open_image_set(
        test,
        resolution=data.resolution,
        channels=data.channels,  # type: ignore[arg-type]
        split="test",
        data_root=root,
        option="--test",
    )
    return open_judge(
        source_of_set(images, str(test)), data, per_class, args.outdir, choose_device(args.device)
    )


def _facts(
    arguments: Sequence[str], args: argparse.Namespace, grid: Grid, judge: Judge, seeds: Sequence[int]
) -> dict[str, str]:
    device = choose_device(args.device)
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    data = grid.train
    return {
        "machine": f"{gpu}{cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
        "data": f"{data.name}, {len(data):,} images of {data.num_classes} classes ({data.counts.max()} to "
        f"{data.counts.min()}), {data.resolution}x{data.resolution}",
        "budget": f"{grid.kimg:g} kimg a cell, seeds {', '.join(map(str, seeds))}",
        "settings": f"preset {grid.preset}, {' '.join(args.overrides) or 'no overrides'}; CBGAN's classifier: "
        f"{grid.classifier_epochs} epochs",
        "judged": f"{judge.per_class} images a class against {len(judge.reference):,} of {judge.reference.name}",
        "command": f"`python -m benchmarks.longtail {shlex.join(arguments)}`",
        "date": time.strftime("%Y-%m-%d"),
    }


def _write(args: argparse.Namespace, grid: Grid, rows: dict[str, list[Cell]], facts: dict[str, str]) -> None:
    if args.markdown is not None:
        write_text(args.markdown, markdown(rows, facts))
    if args.json is not None:
        cells = [vars(cell) for row in rows.values() for cell in row]
        document = {**facts, "verdict": verdict(rows), "cells": cells}
        write_text(args.json, json.dumps(document, indent=1, allow_nan=False) + "\n")
    if args.plots is not None:
        plot_classes(rows, args.plots)
        trained = {name: row for name, row in rows.items() if name not in COPIES and row}
        runs = {name: [grid.outdir / f"{name}-s{cell.seed}" for cell in row] for name, row in trained.items()}
        plot_curves(runs, args.plots)


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
