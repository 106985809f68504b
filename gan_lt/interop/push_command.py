"""`gan-lt push RUN user/name`: a run's network with its model card on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gan_lt.command_line import CommandParser


def push_parser(prog: str = "gan-lt push") -> argparse.ArgumentParser:
    """The options of the upload."""
    parser = CommandParser(
        prog=prog,
        description="Upload a generator and its model card in one commit. Log in with: hf auth login",
    )
    parser.add_argument("network", metavar="RUN|DIR", type=Path, help="a run, or a saved generator's folder")
    parser.add_argument("repository", metavar="USER/NAME", help="on the Hugging Face Hub")
    parser.add_argument("--private", action="store_true", default=None, help="if the repository is new")
    parser.add_argument("--revision", metavar="BRANCH", help="upload to that branch (main)")
    parser.add_argument("--message", metavar="TEXT", help="of the commit")
    return parser


def push_command(arguments: Sequence[str], prog: str = "gan-lt push") -> int:
    """Upload config.json, model.safetensors and README.md; print the commit's address.

    Raises:
        InputError: no good network there, and as `upload_network`.
    """
    args = push_parser(prog).parse_args(arguments)
    from gan_lt.interop.hub import upload_network
    from gan_lt.interop.model_card import CARD_NAME
    from gan_lt.models.pretrained import CONFIG_NAME, WEIGHTS_NAME
    from gan_lt.sampling.loading import find_network, load_generator

    load_generator(args.network)  # a damaged network is refused here, not by those who download it
    url = upload_network(
        find_network(args.network),
        args.repository,
        files=(CONFIG_NAME, WEIGHTS_NAME, CARD_NAME),
        revision=args.revision,
        private=args.private,
        commit_message=args.message,
    )
    print(url)
    return 0


__all__ = ["push_command", "push_parser"]
