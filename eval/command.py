"""The command line: `python -m eval --real DATA --fake OUT|RUN ...` and `python -m eval compare A.json
B.json`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.atomic_file import require_writable, write_text
from eval.comparison import compare, print_comparison
from eval.evaluation import EvaluationOptions, evaluate
from eval.metric_names import METRICS
from eval.page import render_comparison
from eval.ranks import Ranks, ranks_of_torchrun
from eval.report import Report
from gan_lt.command_line import CommandParser
from gan_lt.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, or 2 after one line on standard error for bad input."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["compare"]:
            return _compare(given[1:])
        return _evaluate(given)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def evaluation_parser() -> argparse.ArgumentParser:
    """The options of an evaluation."""
    parser = CommandParser(
        prog="python -m eval",
        description="Compare generated images with real ones, over all and class by class.",
        epilog="python -m eval compare A.json B.json puts two evaluations side by side.",
    )
    inputs = parser.add_argument_group("images")
    inputs.add_argument(
        "--real", required=True, metavar="DATA", help="folder, zip, shards, list, digits, cifar10 or cifar100"
    )
    inputs.add_argument(
        "--fake", required=True, metavar="OUT|RUN", help="folder, zip, shards, run or saved generator"
    )
    inputs.add_argument(
        "--train",
        metavar="DATA|RUN",
        help="the training images, or the run that used them: for memorization, utility",
    )
    inputs.add_argument(
        "--split", choices=("test", "train"), default="test", help="part of a named set (test)"
    )
    inputs.add_argument(
        "--data-root", metavar="DIR", type=Path, help="where a copy of CIFAR lies; where a list's paths start"
    )
    inputs.add_argument("--resolution", type=int, metavar="N", help="bring all images to N x N pixels")
    inputs.add_argument(
        "--num-fake", type=int, metavar="N", help="images a class from a generator (as the reference)"
    )
    inputs.add_argument(
        "--truncation", type=float, default=1.0, metavar="PSI", help="truncation of a generator, 0 to 2 (1)"
    )
    inputs.add_argument("--allow-missing", action="store_true", help="report classes that one side lacks")
    measures = parser.add_argument_group("measures")
    measures.add_argument(
        "--features",
        default="inception",
        metavar="NAME",
        help="inception, clip, dinov2, classifier or a file (inception)",
    )
    measures.add_argument(
        "--weights", type=Path, metavar="FILE", help="the weights of the features, instead of a download"
    )
    measures.add_argument("--metrics", metavar="LIST", help=f"comma-separated, out of {','.join(METRICS)}")
    measures.add_argument(
        "--k", type=int, default=5, help="neighbours of precision, recall, density, coverage (5)"
    )
    measures.add_argument(
        "--replicates", type=int, default=1000, metavar="N", help="bootstrap, 0: no intervals (1000)"
    )
    measures.add_argument(
        "--unbalanced-reference", action="store_true", help="use all real images of every class"
    )
    measures.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of what is sampled and chosen, below 2^32 (0)"
    )
    outputs = parser.add_argument_group("output")
    outputs.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    outputs.add_argument("--report", type=Path, metavar="FILE.html", help="write the page")
    outputs.add_argument("--cache", type=Path, metavar="DIR", help="keep features here and find them again")
    outputs.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    outputs.add_argument("--batch-size", type=int, default=64, metavar="N")
    outputs.add_argument("--quiet", action="store_true", help="no tables and no progress")
    return parser


def _evaluate(arguments: Sequence[str]) -> int:
    chosen = evaluation_parser().parse_args(arguments)
    outputs = [path for path in (chosen.json, chosen.report) if path is not None]
    with ranks_of_torchrun() as ranks:
        if ranks.leads:  # who writes; other machines may lack the folder
            for path in outputs:
                require_writable(path)
        report = _report(chosen, ranks)
    if not ranks.leads:
        return 0
    if not chosen.quiet:
        report.print()  # before the files: on a disk that filled up meanwhile minutes of computing are not lost
    if chosen.json is not None:
        report.to_json(chosen.json)
    if chosen.report is not None:
        report.to_html(chosen.report)
    if not chosen.quiet:
        for path in outputs:
            print(f"wrote {path}")
    return 0


def _report(chosen: argparse.Namespace, ranks: Ranks) -> Report:
    options = EvaluationOptions(
        k=chosen.k,
        replicates=chosen.replicates,
        balance_reference=not chosen.unbalanced_reference,
        seed=chosen.seed,
    )
    return evaluate(
        chosen.real,
        chosen.fake,
        chosen.features,
        chosen.metrics,
        train=chosen.train,
        seed=chosen.seed,
        num_fake=chosen.num_fake,
        truncation_psi=chosen.truncation,
        split=chosen.split,
        data_root=chosen.data_root,
        resolution=chosen.resolution,
        allow_missing=chosen.allow_missing,
        options=options,
        weights=chosen.weights,
        cache_dir=chosen.cache,
        device=chosen.device,
        batch_size=chosen.batch_size,
        progress=not chosen.quiet,
        ranks=ranks,
    )


def _compare(arguments: Sequence[str]) -> int:
    parser = CommandParser(prog="python -m eval compare", description="Two evaluations side by side.")
    parser.add_argument("first", metavar="A.json")
    parser.add_argument("second", metavar="B.json")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write the page")
    chosen = parser.parse_args(arguments)
    comparison = compare(chosen.first, chosen.second)
    if chosen.report is not None:
        write_text(chosen.report, render_comparison(comparison))
    print_comparison(comparison)
    if chosen.report is not None:
        print(f"wrote {chosen.report}")
    return 0
