"""The command `gan-lt app`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gan_lt.command_line import CommandParser
from gan_lt.errors import InputError


def app_parser(prog: str = "gan-lt app") -> argparse.ArgumentParser:
    """The options of `gan-lt app`."""
    parser = CommandParser(
        prog=prog,
        description="Try a network in the browser: choose class, seed and truncation, beside real images.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a run or a saved network")
    parser.add_argument("--data", metavar="DATA", help="real images to show (those the run was trained on)")
    parser.add_argument("--port", metavar="N", type=int, default=7860, help="of this machine (7860)")
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="0.0.0.0 for other machines")
    parser.add_argument(
        "--share", action="store_true", help="through Gradio's servers, for anyone who has the link"
    )
    return parser


def app_command(arguments: Sequence[str], prog: str = "gan-lt app") -> int:
    """Serve the page until Ctrl-C.

    Raises:
        InputError: Gradio is missing, no network in RUN, the port is out of range or taken.
    """
    args = app_parser(prog).parse_args(arguments)
    if not 1 <= args.port <= 65535:
        raise InputError(f"--port: {args.port} must be from 1 to 65535")
    from gan_lt.app.gallery import open_gallery
    from gan_lt.app.page import serve
    from gan_lt.data import open_image_set
    from gan_lt.sampling import load_generator

    data = None
    if args.data is not None:
        resolution = load_generator(args.run)[0].resolution
        data = open_image_set(args.data, resolution=resolution, option="--data")
    gallery = open_gallery(args.run, data)
    serve(gallery, args.run.resolve().name, host=args.host, port=args.port, share=args.share)
    return 0


__all__ = ["app_command", "app_parser"]
