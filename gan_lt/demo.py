"""The whole way on a laptop: train on imbalanced digits, sample a balanced set, evaluate it class by class."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from gan_lt.command_line import CommandParser
from gan_lt.commands import generate_command, run_command, train_run

PER_CLASS = 100


def demo(arguments: Sequence[str]) -> int:
    """Train the preset digits-lt into RUN, write RUN/synthetic, RUN/evaluation.json and RUN/evaluation.html."""
    parser = CommandParser(prog="python -m gan_lt.demo", description=demo.__doc__)
    parser.add_argument("run", metavar="RUN", type=Path, help="folder to make")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    run: Path = args.run
    console = Console(stderr=True)
    start = time.perf_counter()
    console.print("[bold]1/3  training[/bold] on digits: 124 zeros, 6 nines, 16x16, with NoisyTwins")
    where = ["--outdir", str(run.parent), "--name", run.name]
    _, complete = train_run(["--preset", "digits-lt", "--seed", str(args.seed), *where])
    if not complete:
        return 130
    console.print(f"[bold]2/3  sampling[/bold] {PER_CLASS} images of every class")
    synthetic = run / "synthetic"
    generate_command(["--network", str(run), "--outdir", str(synthetic), "--per-class", str(PER_CLASS)])
    console.print("[bold]3/3  evaluating[/bold] them against 50 held-out digits of every class")
    from eval import evaluate

    report = evaluate("digits", synthetic, features="classifier", train=run)
    report.to_json(run / "evaluation.json")
    report.to_html(run / "evaluation.html")
    report.print()
    seconds = time.perf_counter() - start
    print(f"\nrun                    network and samples {run}")
    print(f"balanced synthetic set 1,000 images        {synthetic}")
    print(f"figures                for machines        {run}/evaluation.json")
    print(f"page                   open in a browser   {run}/evaluation.html")
    print(f"took {seconds // 60:.0f} min {seconds % 60:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(demo, sys.argv[1:]))
