"""What people type, parsed and carried out: train and generate. The scripts and `gan-lt` both come here."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from gan_lt.config import build_config, preset_names, preset_values, validate
from gan_lt.data.opening import NAMED_SETS
from gan_lt.errors import InputError
from gan_lt.progress import images_progress

console = Console(stderr=True)


def run_command(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a command; bad input becomes one line on standard error and status 2, Ctrl-C status 130."""
    try:
        return command(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # whoever read our output has seen enough; the interpreter must not complain when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def train_parser(prog: str = "train.py") -> argparse.ArgumentParser:
    """The options of training."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Train a class-conditional GAN on imbalanced images.",
        epilog="Any setting of config.yaml can be given as dotted.name=value, as in loss.r1_gamma=0.1.",
    )
    parser.add_argument(
        "--data", metavar="DATA", help="folder with a sub-folder a class, zip, digits, cifar10 or cifar100"
    )
    parser.add_argument(
        "--outdir", metavar="DIR", type=Path, default=Path("runs"), help="runs are made below it (runs)"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="name of the run's folder (a number and what is trained)"
    )
    parser.add_argument(
        "--preset", metavar="NAME", help=f"{', '.join(preset_names())} or a .yaml file (custom)"
    )
    parser.add_argument(
        "--regularizers", metavar="A,B", help="methods, comma-separated; none for none (the preset's)"
    )
    parser.add_argument(
        "--imbalance", metavar="R", type=float, help="thin a balanced set out to n_max / n_min = R"
    )
    parser.add_argument("--profile", choices=("exp", "step"), help="shape of the thinned-out set (exp)")
    parser.add_argument("--resolution", metavar="N", type=int, help="centre-crop and resize to N x N")
    parser.add_argument("--data-root", metavar="DIR", help="where a copy of CIFAR lies")
    parser.add_argument(
        "--skip-corrupt", action="store_true", default=None, help="leave unreadable images out, and list them"
    )
    parser.add_argument("--kimg", metavar="N", type=float, help="thousands of real images to show")
    parser.add_argument("--batch", metavar="N", type=int, help="images a step")
    parser.add_argument("--seed", metavar="N", type=int, help="of weights, data order and latents (0)")
    parser.add_argument(
        "--init-from",
        metavar="X",
        help="start from X: a StyleGAN2-ADA .pkl, a run or a saved network's folder",
    )
    parser.add_argument("--resume", metavar="RUN", type=Path, help="go on with a run; --kimg may lengthen it")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (cuda where there is one)")
    parser.add_argument("overrides", nargs="*", metavar="name=value", help="any setting by its dotted name")
    return parser


_OPTIONS = {
    "data": "data.path",
    "imbalance": "data.imbalance",
    "profile": "data.profile",
    "resolution": "data.resolution",
    "data_root": "data.root",
    "skip_corrupt": "data.skip_corrupt",
    "kimg": "training.kimg",
    "batch": "training.batch",
    "seed": "training.seed",
    "init_from": "training.init_from",
}


def train_command(arguments: Sequence[str], prog: str = "train.py") -> int:
    """`train.py`: train, and say how to go on. Status 0 also when stopped by a signal: a checkpoint is there."""
    run, complete = train_run(arguments, prog)
    if complete:
        console.print(
            f"done: {run}; sample it with: python generate.py --network {run} --outdir OUT --per-class 100",
            soft_wrap=True,
        )
    return 0


def train_run(arguments: Sequence[str], prog: str = "train.py") -> tuple[Path, bool]:
    """Build the configuration, open the data, make the run, train. Returns the run and whether it is complete."""
    args = train_parser(prog).parse_intermixed_args(arguments)
    options = {
        setting: getattr(args, option)
        for option, setting in _OPTIONS.items()
        if getattr(args, option) is not None
    }
    if args.data is not None:
        options["data.path"] = _lasting_path(args.data)
        preset_data = preset_values(args.preset or "custom").get("data") or {}
        if args.imbalance is None and preset_data.get("path") not in (None, args.data):
            # a preset thins its own data out; other data keep their long tail
            options["data.imbalance"] = None
    if args.init_from is not None:
        options["training.init_from"] = _lasting_path(args.init_from)
    if args.regularizers is not None:
        options["regularizers"] = [] if args.regularizers == "none" else args.regularizers
    if args.resume is not None:
        from gan_lt.training.run_directory import open_run

        if args.preset is not None or args.name is not None:
            raise InputError(
                "--resume goes with neither --preset nor --name: the run has its own configuration"
            )
        config = open_run(args.resume)
        if unsuited := sorted(set(options) - {"training.kimg"}):
            raise InputError(
                f"--resume: {unsuited[0]} is fixed for {args.resume}; only --kimg may change, or start a new run"
            )
        if args.overrides:
            raise InputError(f"--resume: {args.overrides[0]!r} can't change a run; start a new one")
        if args.kimg is not None:
            values = config.model_dump()
            values["training"]["kimg"] = args.kimg
            config = validate(values)
    else:
        config = build_config(args.preset or "custom", options, args.overrides)
    initial = None
    if args.resume is None and config.training.init_from is not None:
        from gan_lt.training.initial_networks import adopt_settings, given_names, open_initial_networks

        initial = open_initial_networks(config.training.init_from)
        config = adopt_settings(config, initial, given_names(options, args.overrides))

    from cuda_ops import backend_info
    from gan_lt.training import create_run, open_training_set, train
    from gan_lt.training.device import choose_device

    device = choose_device(args.device)
    with console.status("preparing the kernels (compiled once for this machine)"):
        backend_info()
    images = open_training_set(config.data)
    if images.skipped:
        console.print(f"skipped {len(images.skipped)} unreadable images: {', '.join(images.skipped[:5])}")
    run = args.resume if args.resume is not None else create_run(args.outdir, config, args.name)
    counts = images.counts
    console.print(
        f"{run}: {len(images):,} images, {images.num_classes} classes ({counts.max()} to {counts.min()} images), "
        f"{images.resolution}x{images.resolution}x{images.channels}; {config.preset}"
        f"{' with ' + ', '.join(config.regularizers) if config.regularizers else ''}",
        soft_wrap=True,
    )
    try:
        return run, train(config, images, run, console, device, initial)
    except InputError:
        # bad input that only showed when the networks and methods were built: leave no empty run behind
        if args.resume is None and not (run / "stats.jsonl").exists():
            shutil.rmtree(run)
        raise


def _lasting_path(data: str) -> str:
    """The path as config.yaml keeps it: it has to hold from another folder, too."""
    return str(Path(data).resolve()) if data not in NAMED_SETS and Path(data).exists() else data


def generate_parser(prog: str = "generate.py") -> argparse.ArgumentParser:
    """The options of sampling."""
    parser = argparse.ArgumentParser(prog=prog, description="Sample a synthetic set from a trained network.")
    parser.add_argument(
        "--network", metavar="RUN|DIR|FILE", type=Path, required=True, help="a run or a saved network"
    )
    parser.add_argument("--outdir", metavar="OUT", type=Path, required=True, help="folder (or .zip) to make")
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--per-class", metavar="N", type=int, help="so many images of every class")
    amount.add_argument("--top-up", metavar="DATA", help="what each class of DATA lacks to its largest class")
    amount.add_argument("--counts", metavar="FILE", type=Path, help='JSON file {"class name": number}')
    parser.add_argument("--to", metavar="N", type=int, help="with --top-up: up to N images a class instead")
    parser.add_argument("--classes", metavar="A,B", help="these classes only")
    parser.add_argument("--truncation", metavar="PSI", type=float, default=1.0, help="1: all the variety (1)")
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0, help="the same seed gives the same images (0)"
    )
    parser.add_argument(
        "--format", choices=("folder", "zip"), default="folder", help="what to write (folder)"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (cuda where there is one)")
    return parser


def generate_command(arguments: Sequence[str], prog: str = "generate.py") -> int:
    """`generate.py`: load the network, plan, sample, write."""
    args = generate_parser(prog).parse_args(arguments)
    from gan_lt.data import open_image_set
    from gan_lt.sampling import (
        load_generator,
        plan_from_file,
        plan_per_class,
        plan_top_up,
        write_synthetic_set,
    )
    from gan_lt.training.device import choose_device

    if args.to is not None and args.top_up is None:
        raise InputError(f"--to: {args.to} goes with --top-up only")
    if args.classes is not None and args.counts is not None:
        raise InputError("--classes: goes with --per-class or --top-up; --counts names its classes itself")
    device = choose_device(args.device)
    generator, digest = load_generator(args.network)
    generator.to(device)
    classes = None if args.classes is None else [name for name in args.classes.split(",") if name]
    if args.top_up is not None:
        # of the network's own size: images of any size can be counted
        data = open_image_set(args.top_up, resolution=max(generator.resolution, 8), option="--top-up")
        plan = plan_top_up(generator, data, args.to, classes)
    elif args.counts is not None:
        plan = plan_from_file(generator, args.counts)
    else:
        plan = plan_per_class(generator, args.per_class, classes)
    total = int(plan.counts.sum())
    progress = images_progress(console)
    bar = progress.add_task("sampling", total=total)

    def advance(images: int) -> None:
        progress.start()  # with the first image: a refusal stays one line
        progress.advance(bar, images)

    try:
        write_synthetic_set(
            generator,
            plan,
            args.outdir,
            seed=args.seed,
            truncation_psi=args.truncation,
            network_sha256=digest,
            set_format=args.format,
            progress=advance,
        )
    finally:
        if progress.live.is_started:
            progress.stop()
    console.print(
        f"{args.outdir}: {total:,} images of {int((plan.counts > 0).sum())} classes", soft_wrap=True
    )
    return 0
