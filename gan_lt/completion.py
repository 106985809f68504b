"""`gan-lt completion SHELL`: prints a script that completes commands and options, made from their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from gan_lt.command_line import CommandParser

SHELLS = ("bash", "zsh", "fish")
_WHERE = {
    "bash": "gan-lt completion bash > ~/.local/share/bash-completion/completions/gan-lt",
    "zsh": "gan-lt completion zsh > DIR/_gan-lt, where DIR is a folder of your $fpath",
    "fish": "gan-lt completion fish > ~/.config/fish/completions/gan-lt.fish",
}


def completion_parser(prog: str = "gan-lt completion") -> argparse.ArgumentParser:
    """The options of `gan-lt completion`."""
    parser = CommandParser(
        prog=prog,
        description="Print a script that completes the commands and options of gan-lt.",
        epilog="; ".join(_WHERE.values()),
    )
    parser.add_argument("shell", choices=SHELLS)
    return parser


def completion_command(arguments: Sequence[str], prog: str = "gan-lt completion") -> int:
    """Print the script."""
    args = completion_parser(prog).parse_args(arguments)
    import shtab

    print(shtab.complete(whole_parser(), shell=args.shell))
    return 0


def whole_parser() -> argparse.ArgumentParser:
    """One parser that has every command of gan-lt as a sub-command."""
    parser = argparse.ArgumentParser(prog="gan-lt")
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, make in parsers().items():
        own = make(f"gan-lt {name}")
        commands.add_parser(
            name, parents=[own], add_help=False, help=own.description, description=own.description
        )
    return parser


def parsers() -> dict[str, Callable[[str], argparse.ArgumentParser]]:
    """What makes the parser of every command, by the command's name."""
    from eval.command import evaluation_parser
    from gan_lt.app.command import app_parser
    from gan_lt.classifier.command import classifier_parser
    from gan_lt.cli import dataset_parser
    from gan_lt.commands import generate_parser, train_parser
    from gan_lt.doctor import doctor_parser
    from gan_lt.grid_command import grid_parser
    from gan_lt.interop.card_command import card_parser
    from gan_lt.interop.command import import_parser
    from gan_lt.interop.export_command import export_parser
    from gan_lt.interop.push_command import push_parser

    return {
        "train": train_parser,
        "generate": generate_parser,
        "grid": grid_parser,
        "eval": lambda prog: evaluation_parser(),
        "classifier": classifier_parser,
        "dataset": dataset_parser,
        "import": import_parser,
        "export": export_parser,
        "card": card_parser,
        "push": push_parser,
        "app": app_parser,
        "doctor": doctor_parser,
        "completion": completion_parser,
    }


__all__ = ["SHELLS", "completion_command", "completion_parser", "parsers", "whole_parser"]
