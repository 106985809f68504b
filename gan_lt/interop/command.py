"""`gan-lt import FILE.pkl OUT`: a StyleGAN2-ADA file as two saved networks."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from gan_lt.command_line import CommandParser
from gan_lt.errors import InputError


def import_parser(prog: str = "gan-lt import") -> argparse.ArgumentParser:
    """The options of the import."""
    parser = CommandParser(
        prog=prog,
        description="Convert a StyleGAN2-ADA file; no code from the file is run.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="StyleGAN2-ADA .pkl, or .safetensors")
    parser.add_argument(
        "out", metavar="OUT", type=Path, help="new folder; gets generator/ and discriminator/"
    )
    return parser


def import_command(arguments: Sequence[str], prog: str = "gan-lt import") -> int:
    """Write OUT/generator and OUT/discriminator; OUT is there whole or not at all.

    Raises:
        InputError: OUT exists and is not an empty folder, it can't be written, or FILE can't be imported.
    """
    args = import_parser(prog).parse_args(arguments)
    out: Path = args.out
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise InputError(f"{out}: exists and is not an empty folder; name a new one")
    from gan_lt.interop.stylegan2_ada import load_stylegan2_ada

    G, D = load_stylegan2_ada(args.file)
    target = out.absolute()
    unfinished = target.parent / f".{target.name}.{os.getpid()}"
    try:
        G.save_pretrained(unfinished / "generator")
        D.save_pretrained(unfinished / "discriminator")
        if target.is_dir():
            target.rmdir()
        unfinished.rename(target)
    except OSError as error:
        raise InputError(f"{out}: can't be written ({error}); name another folder") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(
        f"{out}: generator and discriminator, {G.resolution}x{G.resolution}, {G.num_classes} classes, "
        f"{G.config['architecture']} / {D.config['architecture']}"
    )
    return 0


__all__ = ["import_command", "import_parser"]
