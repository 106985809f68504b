"""`generate.py` and `gan-lt generate`: the options of sampling a synthetic set, and what they do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from rich.console import Console

from gan_lt.command_line import CommandParser
from gan_lt.errors import InputError
from gan_lt.progress import images_progress

if TYPE_CHECKING:
    from gan_lt.data import ImageSet
    from gan_lt.models import Generator
    from gan_lt.sampling import SamplingPlan, Selection, WrittenSet
    from gan_lt.sampling.ranks import Ranks
    from gan_lt.sampling.set_formats import SetFormat

STATUS_SHORT = 3

console = Console(stderr=True)


def generate_parser(prog: str = "generate.py") -> argparse.ArgumentParser:
    """The options of sampling."""
    parser = CommandParser(
        prog=prog,
        description="Sample a synthetic set from a trained network.",
        epilog="A stopped run goes on when the same command is given again.",
    )
    parser.add_argument(
        "--network", metavar="RUN|DIR|FILE", type=Path, required=True, help="a run or a saved network"
    )
    parser.add_argument("--outdir", metavar="OUT", type=Path, required=True, help="folder (or .zip) to make")
    amounts = parser.add_argument_group("how many")
    amount = amounts.add_mutually_exclusive_group(required=True)
    amount.add_argument("--per-class", metavar="N", type=int, help="so many images of every class")
    amount.add_argument("--top-up", metavar="DATA", help="what each class of DATA lacks to its largest class")
    amount.add_argument("--counts", metavar="FILE", type=Path, help='JSON file {"class name": number}')
    amounts.add_argument("--to", metavar="N", type=int, help="with --top-up: up to N images a class instead")
    amounts.add_argument(
        "--copy-real", action="store_true", help="with --top-up: also copy DATA, for a complete level set"
    )
    amounts.add_argument("--classes", metavar="A,B", help="these classes only")
    look = parser.add_argument_group("which images")
    look.add_argument(
        "--truncation", metavar="PSI", default="1", help="1: all the variety; 0.7,truck=0.9 by class (1)"
    )
    look.add_argument(
        "--seed", metavar="N", type=int, default=0, help="the same seed gives the same images (0)"
    )
    look.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="fp32",
        help="of the image layers; auto: bf16 where it is faster (fp32)",
    )
    _add_selection(parser.add_argument_group("selection: refused images are replaced by others"))
    files = parser.add_argument_group("files")
    files.add_argument(
        "--data-root", metavar="DIR", type=Path, help="where a list's paths start; where a copy of CIFAR lies"
    )
    files.add_argument(
        "--format", choices=("folder", "zip", "webdataset"), help="what to write (folder; zip for OUT.zip)"
    )
    files.add_argument(
        "--image-format", choices=("png", "jpeg", "webp"), default="png", help="of the images (png: lossless)"
    )
    files.add_argument("--quality", metavar="N", type=int, help="of jpeg (95) and webp (90), 1 to 100")
    files.add_argument("--shard-images", metavar="N", type=int, help="images of a webdataset shard (10000)")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (cuda where there is one)")
    return parser


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--keep-best", metavar="SHARE", type=float, default=1.0, help="keep the best share by --score (1)"
    )
    group.add_argument(
        "--score", choices=("classifier", "discriminator"), help="probability of the class, or realism"
    )
    group.add_argument(
        "--classifier",
        metavar="DIR|FILE",
        type=Path,
        help="from gan-lt classifier train; also sorts the images of an unconditional network",
    )
    group.add_argument("--drop-copies", action="store_true", help="refuse near-copies of training images")
    group.add_argument(
        "--drop-duplicates",
        metavar="RMS",
        nargs="?",
        const="auto",
        help="refuse near-duplicates (RMS: pixel difference from 0 to 1 that is too small)",
    )
    group.add_argument("--train-data", metavar="DATA", help="the training images (those of --top-up)")
    group.add_argument(
        "--max-tries", metavar="N", type=int, help="images sampled at most for one wanted (100)"
    )


def generate_command(arguments: Sequence[str], prog: str = "generate.py") -> int:
    """Load the network, plan, sample, write. Status 3 where the limit of tries left classes short."""
    args = generate_parser(prog).parse_args(arguments)
    from gan_lt.sampling.ranks import joined_ranks

    args.format = _format(args.format, args.outdir)
    _require_combinations(args)
    with joined_ranks() as ranks:
        return _generate(args, ranks)


def _generate(args: argparse.Namespace, ranks: Ranks) -> int:
    from gan_lt.interruption import StopRequest
    from gan_lt.memory_reuse import keep_freed_memory
    from gan_lt.models.precision import compute_dtype, set_compute_dtype
    from gan_lt.sampling import Encoding, load_generator, parse_truncation, write_synthetic_set
    from gan_lt.sampling.set_formats import SHARD_IMAGES
    from gan_lt.sampling.unfinished import unfinished_path

    truncation = parse_truncation(args.truncation)
    encoding = Encoding(args.image_format, args.quality)
    generator, digest = load_generator(args.network)
    device = ranks.device(args.device)
    generator.to(device)
    set_compute_dtype(generator, compute_dtype(args.precision, device))
    if device.type == "cpu":
        keep_freed_memory()
    data = None if args.top_up is None else _open(args.top_up, "--top-up", args, generator)
    selection = _selection(args, generator, data)
    plan = _plan(args, generator, data, selection)
    progress = images_progress(console)
    bar = progress.add_task("sampling", total=None)
    stop = StopRequest()

    def begin(what: str, total: int, done: int) -> None:
        stop.check()
        if ranks.size > 1:
            what = f"{what}, the share of 1 in {ranks.size} processes"
        progress.reset(bar, total=total, completed=done, description=what, start=True)

    def advance(images: int) -> None:
        stop.check()
        if ranks.leads:
            progress.start()  # with the first image: a refusal stays one line
        progress.advance(bar, images)

    try:
        with stop:
            written = write_synthetic_set(
                generator,
                plan,
                args.outdir,
                seed=args.seed,
                truncation_psi=truncation,
                network_sha256=digest,
                set_format=args.format,
                encoding=encoding,
                selection=selection,
                copy_real=data if args.copy_real else None,
                shard_images=SHARD_IMAGES if args.shard_images is None else args.shard_images,
                ranks=ranks,
                progress=advance,
                stage=begin,
            )
    except (KeyboardInterrupt, RuntimeError) as error:
        # a process that waits for another one learns from the broken connection that both are to stop
        if isinstance(error, RuntimeError) and not (stop.requested and ranks.size > 1):
            raise
        work = unfinished_path(args.outdir)
        if ranks.leads and work.exists():
            console.print(
                f"stopped; what is made lies in {work}, the same command goes on from there", soft_wrap=True
            )
        raise KeyboardInterrupt from None
    finally:
        if progress.live.is_started:
            progress.stop()
    return _report(args.outdir, written, data if args.copy_real else None) if ranks.leads else 0


def _report(out: Path, written: WrittenSet, copied: ImageSet | None) -> int:
    total, classes = int(written.made.sum()), int((written.made > 0).sum())
    beside = "" if copied is None else f" beside {len(copied):,} real ones"
    console.print(f"{out}: {total:,} images of {classes} classes{beside}", soft_wrap=True)
    if not written.short:
        return 0
    listed = ", ".join(f"{name} lacks {n}" for name, n in written.short.items())
    console.print(
        f"--max-tries left {len(written.short)} classes short ({listed}); {out} holds the others whole, manifest.json "
        "says what was refused",
        soft_wrap=True,
    )
    return STATUS_SHORT


def _format(asked: str | None, out: Path) -> SetFormat:
    """What to write; nobody who calls it OUT.zip means a folder of that name."""
    is_zip = out.suffix.lower() == ".zip"
    if is_zip and asked not in (None, "zip"):
        raise InputError(
            f"--format: {asked} makes a folder, and --outdir {out} is called as a zip; leave --format out, or rename the folder"
        )
    return "zip" if is_zip else cast("SetFormat", asked or "folder")


def _require_combinations(args: argparse.Namespace) -> None:
    if args.to is not None and args.top_up is None:
        raise InputError(f"--to: {args.to} goes with --top-up only")
    if args.copy_real and args.top_up is None:
        raise InputError("--copy-real: goes with --top-up only: it copies those images")
    if args.classes is not None and args.counts is not None:
        raise InputError("--classes: goes with --per-class or --top-up; --counts names its classes itself")
    if args.shard_images is not None and args.format != "webdataset":
        raise InputError(f"--shard-images: {args.shard_images} goes with --format webdataset only")
    if args.train_data is not None and not (args.drop_copies or args.drop_duplicates):
        raise InputError("--train-data: goes with --drop-copies or --drop-duplicates")
    if args.data_root is not None and args.top_up is None and args.train_data is None:
        raise InputError(f"--data-root: {args.data_root} goes with --top-up or --train-data only")


def _open(spec: str, option: str, args: argparse.Namespace, generator: Generator) -> ImageSet:
    from gan_lt.data import open_image_set

    # of the network's own size: images of any size can be counted, copied and compared with
    return open_image_set(
        spec,
        resolution=max(generator.resolution, 8),
        channels=generator.img_channels,
        data_root=args.data_root,
        option=option,
    )


def _plan(
    args: argparse.Namespace, generator: Generator, data: ImageSet | None, selection: Selection | None
) -> SamplingPlan:
    from gan_lt.sampling import plan_from_file, plan_per_class, plan_top_up

    classifier = None if selection is None else selection.classifier
    classes = None if args.classes is None else [name for name in args.classes.split(",") if name]
    if classes == []:
        raise InputError(
            f"--classes: {args.classes!r} names no class; write their names, as in --classes ant,bee"
        )
    if data is not None:
        return plan_top_up(generator, data, args.to, classes, classifier)
    if args.counts is not None:
        return plan_from_file(generator, args.counts, classifier)
    return plan_per_class(generator, args.per_class, classes, classifier)


def _selection(args: argparse.Namespace, generator: Generator, data: ImageSet | None) -> Selection | None:
    """What images must pass; None where nothing was asked."""
    from gan_lt.sampling.judges import load_classifier, load_discriminator
    from gan_lt.sampling.selection import MAX_TRIES, Selection

    asked = args.keep_best != 1 or args.drop_copies or args.drop_duplicates is not None
    if generator.num_classes > 0 and not asked:
        for option, value in (
            ("--score", args.score),
            ("--classifier", args.classifier),
            ("--max-tries", args.max_tries),
        ):
            if value is not None:
                raise InputError(
                    f"{option}: {value} selects nothing by itself; pass --keep-best, --drop-copies or --drop-duplicates"
                )
        return None
    if generator.num_classes == 0 and args.classifier is None:
        return None  # the plan refuses it
    training = data
    if args.train_data is not None:
        training = _open(args.train_data, "--train-data", args, generator)
    return Selection(
        keep_best=args.keep_best,
        score=args.score,
        classifier=None if args.classifier is None else load_classifier(args.classifier),
        discriminator=load_discriminator(args.network, generator) if args.score == "discriminator" else None,
        drop_copies=args.drop_copies,
        drop_duplicates=_duplicate_distance(args.drop_duplicates),
        training=training if args.drop_copies or args.drop_duplicates == "auto" else None,
        max_tries=MAX_TRIES if args.max_tries is None else args.max_tries,
    )


def _duplicate_distance(text: str | None) -> float | Literal["auto"] | None:
    if text is None or text == "auto":
        return None if text is None else "auto"
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"--drop-duplicates: {text!r} is not a number; write one from 0 to 1, or none"
        ) from None
