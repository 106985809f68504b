"""`gan-lt card RUN`: the model card of a run's network, with the figures of its evaluation."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from gan_lt.command_line import CommandParser
from gan_lt.errors import InputError
from gan_lt.interop.model_card import CARD_NAME, render_card


def card_parser(prog: str = "gan-lt card") -> argparse.ArgumentParser:
    """The options of the card."""
    parser = CommandParser(prog=prog, description="Write the model card (README.md) of a trained generator.")
    parser.add_argument("network", metavar="RUN|DIR", type=Path, help="a run, or a saved generator's folder")
    parser.add_argument(
        "--eval", metavar="FILE.json", type=Path, help="its evaluation, as python -m eval --json wrote it"
    )
    parser.add_argument("--license", metavar="ID", default="unknown", help="as apache-2.0 (unknown)")
    parser.add_argument("--title", metavar="TEXT", help="of the card (from the data's name)")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, help="write there (README.md in the network's folder)"
    )
    return parser


def card_command(arguments: Sequence[str], prog: str = "gan-lt card") -> int:
    """Write the card, complete or not at all.

    Raises:
        InputError: no network or evaluation there, a README.md that someone has taken over, an impossible licence.
    """
    args = card_parser(prog).parse_args(arguments)
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", args.license):
        raise InputError(f"--license: {args.license!r} is no identifier such as apache-2.0 or cc-by-4.0")
    from eval.atomic_file import write_text
    from eval.report import Report
    from gan_lt.models import Generator
    from gan_lt.models.pretrained import write_card
    from gan_lt.sampling.loading import find_network
    from gan_lt.training import open_run

    folder = find_network(args.network)
    # a damaged file shows here and not on the Hub
    config = Generator.from_pretrained(folder).config
    run = folder.parent
    is_run = folder.name == "network" and (run / "config.yaml").is_file()
    text = render_card(
        config,
        training=open_run(run) if is_run else None,
        images_seen=_images_seen(run) if is_run else None,
        report=None if args.eval is None else Report.from_json(args.eval),
        license_id=args.license,
        title=args.title,
    )
    file: Path = folder / CARD_NAME if args.out is None else args.out
    if args.out is not None:
        write_text(args.out, text)
    else:
        try:
            written = write_card(folder, text)
        except OSError as error:
            raise InputError(f"{file}: can't be written ({error.strerror}); pass --out FILE") from error
        if not written:
            raise InputError(f"{file}: has been changed by hand; pass --out FILE, or delete it first")
    print(f"{file}: {len(text.splitlines())} lines")
    return 0


def _images_seen(run: Path) -> int | None:
    """Real images shown up to the last checkpoint, with which the network was saved."""
    from gan_lt.training.checkpoint import list_checkpoints

    for checkpoint in reversed(list_checkpoints(run / "checkpoints")):
        try:
            with safe_open(checkpoint, "pt") as file:
                seen = (file.metadata() or {}).get("images_seen", "")
        except (OSError, SafetensorError):
            continue
        if seen.isdigit():
            return int(seen)
    return None


__all__ = ["card_command", "card_parser"]
