"""What people type, parsed and carried out. The scripts and `gan-lt` both come here; generate stands in generation.py."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from gan_lt.command_line import CommandParser
from gan_lt.config import TrainConfig, build_config, preset_names, preset_values, validate
from gan_lt.data.opening import is_named
from gan_lt.data.shard_paths import is_pattern
from gan_lt.errors import InputError, LostProcessError, lacks_memory
from gan_lt.generation import generate_command, generate_parser

__all__ = [
    "console",
    "generate_command",
    "generate_parser",
    "run_command",
    "train_command",
    "train_parser",
    "train_run",
]

if TYPE_CHECKING:
    import torch

    from gan_lt.training.initial_networks import InitialNetworks

console = Console(stderr=True)


def run_command(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a command; bad input and lack of memory become one line on standard error and status 2, Ctrl-C status 130."""
    try:
        return command(arguments)
    except InputError as error:
        _print_error(error)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        # training names its own remedy before this
        reason = str(error).partition("\n")[0] or "Python found none"
        less = "end other programs, or do less at a time (classifier train --batch, eval --batch-size)"
        _print_error(InputError(f"out of memory ({reason}); {less}"))
        return 2
    except BrokenPipeError:
        # whoever read our output has seen enough; the interpreter must not complain when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _print_error(message: InputError) -> None:
    """One line on standard error; of several processes with the same complaint, only the first is heard."""
    given = os.environ.get("RANK", "")
    number = int(given) if given.isdecimal() else 0
    if isinstance(message, LostProcessError):
        time.sleep(6)  # the one that failed speaks first, and torchrun ends us meanwhile
    elif number:
        time.sleep(2)  # torchrun ends us meanwhile if process 0 has failed, too
    print(f"error: {message}" if number == 0 else f"error in process {number}: {message}", file=sys.stderr)


def train_parser(prog: str = "train.py") -> argparse.ArgumentParser:
    """The options of training."""
    parser = CommandParser(
        prog=prog,
        description="Train a class-conditional GAN on imbalanced images.",
        epilog="Any setting of config.yaml can be given as dotted.name=value, as in loss.r1_gamma=0.1.",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="folder with a sub-folder a class, zip, WebDataset shards (a folder or pattern), list, digits, cifar10 or cifar100",
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
    parser.add_argument(
        "--data-root", metavar="DIR", help="where a copy of CIFAR lies; where the paths of a list start"
    )
    parser.add_argument(
        "--skip-corrupt", action="store_true", default=None, help="leave unreadable images out, and list them"
    )
    parser.add_argument("--kimg", metavar="N", type=float, help="thousands of real images to show")
    parser.add_argument("--batch", metavar="N", type=int, help="images a step")
    parser.add_argument("--seed", metavar="N", type=int, help="of weights, data order and latents (0)")
    parser.add_argument(
        "--metrics",
        metavar="A,B",
        help="measure fid, ifid, kid, prdc every few ticks; keeps the best network",
    )
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
_PATHS = (
    ("data", "path"),
    ("data", "root"),
    ("training", "init_from"),
    ("cbgan", "classifier"),
    ("metrics", "real"),
)


def train_command(arguments: Sequence[str], prog: str = "train.py") -> int:
    """`train.py`: train, and say how to go on. Status 0 also when stopped by a signal: a checkpoint is there."""
    run, complete = train_run(arguments, prog)
    if complete:
        generate = "gan-lt generate" if prog == "gan-lt train" else "python generate.py"
        console.print(
            f"done: {run}; sample it with: {generate} --network {run} --outdir OUT --per-class 100",
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
    if args.regularizers is not None:
        options["regularizers"] = [] if args.regularizers == "none" else args.regularizers
    if args.metrics is not None:
        options["metrics.names"] = [] if args.metrics == "none" else args.metrics.split(",")
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
            _require_no_shorter(args.resume, config.training.kimg, args.kimg)
            config = validate(values)
    else:
        config = _with_lasting_paths(build_config(args.preset or "custom", options, args.overrides))
    initial = None
    if args.resume is None and config.training.init_from is not None:
        from gan_lt.training.initial_networks import adopt_settings, given_names, open_initial_networks

        initial = open_initial_networks(config.training.init_from)
        config = adopt_settings(config, initial, given_names(options, args.overrides))

    from cuda_ops import backend_info
    from gan_lt.training.device import choose_device
    from gan_lt.training.distributed import process_group

    device = choose_device(args.device)
    with console.status("preparing the kernels (compiled once for this machine)"):
        backend_info()
    with process_group(device):
        return _train(args, config, device, initial)


def _require_no_shorter(run: Path, kimg: float, wanted: float) -> None:
    """InputError for fewer images than a run has seen: config.yaml would tell of a shorter training than there was.

    kimg: the run's own length, which its last step may have overshot; asking for that again is no mistake.
    """
    from gan_lt.training.checkpoint import images_trained

    seen = images_trained(run / "checkpoints")
    if 0 < wanted * 1000 < seen and wanted < kimg:
        raise InputError(
            f"--kimg: {wanted:g} is less than the {seen / 1000:g} kimg that {run} has been trained for; pass more to go on, "
            "or leave --kimg out"
        )


def _train(
    args: argparse.Namespace, config: TrainConfig, device: torch.device, initial: InitialNetworks | None
) -> tuple[Path, bool]:
    """Open the data, make or reopen the run, train: in every process of a distributed run."""
    from gan_lt.processes import is_main, text_from_main, world_size
    from gan_lt.training import create_run, open_training_set, train
    from gan_lt.training.distributed import check_batch, remember_launch, restarted_run
    from gan_lt.training.failures import OutOfMemoryError
    from gan_lt.training.run_directory import RunBusyError, discard_run

    console.quiet = not is_main()
    note = check_batch(config)
    images = open_training_set(config.data)
    if images.skipped:
        console.print(f"skipped {len(images.skipped)} unreadable images: {', '.join(images.skipped[:5])}")
    run = args.resume
    existed = args.name is not None and (args.outdir / args.name).exists()
    if run is None and is_main():
        run = restarted_run(args.outdir)
        if run is None:
            run = create_run(args.outdir, config, args.name)
            remember_launch(run)
    run = Path(text_from_main(str(run)))
    counts = images.counts
    console.print(
        f"{run}: {len(images):,} images, {images.num_classes} classes ({counts.max()} to {counts.min()} images), "
        f"{images.resolution}x{images.resolution}x{images.channels}; {config.preset}"
        f"{' with ' + ', '.join(config.regularizers) if config.regularizers else ''}"
        f"{f'; {world_size()} processes' if world_size() > 1 else ''}{f', {note}' if note else ''}",
        soft_wrap=True,
    )
    try:
        return run, train(config, images, run, console, device, initial)
    except (OutOfMemoryError, RunBusyError):
        raise  # the remedy is to go on with this run, or it is another process's
    except Exception:
        # what only showed when the networks and methods were built, also a method's own fault: leave no empty run behind
        if (
            args.resume is None and is_main() and not (run / "samples").exists()
        ):  # made when the training begins
            discard_run(run, keep_folder=existed)
        raise


def _with_lasting_paths(config: TrainConfig) -> TrainConfig:
    """The configuration with paths that hold from another folder, whether options or overrides name them."""
    values = config.model_dump()
    for section, key in _PATHS:
        if values[section][key] is not None:
            may_be_named = (section, key) in (("data", "path"), ("metrics", "real"))
            if not (may_be_named and is_named(values[section][key])):
                values[section][key] = _lasting_path(values[section][key])
    return validate(values)


def _lasting_path(data: str) -> str:
    """The path as config.yaml keeps it: it has to hold from another folder, too."""
    path = os.path.expanduser(data)
    if os.path.exists(path) or is_pattern(Path(path)):
        # links and ".." behind them are kept: what lies beside a list or a shard counts
        return str(Path(path).absolute())
    return data
