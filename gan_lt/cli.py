"""`gan-lt COMMAND`: the installed command, the same code as the scripts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from gan_lt.command_line import CommandParser, did_you_mean
from gan_lt.loading import loading
from gan_lt.version import __version__

# command: what it does, and the module and function that do it, imported when asked for
_COMMANDS = {
    "train": ("train a network (as train.py)", "gan_lt.commands", "train_command"),
    "generate": ("sample a synthetic set (as generate.py)", "gan_lt.commands", "generate_command"),
    "grid": ("draw samples, interpolations or a sweep of truncation", "gan_lt.grid_command", "grid_command"),
    "eval": ("compare generated with real images (as python -m eval)", "eval.command", "main"),
    "classifier": (
        "train a long-tail classifier, which CBGAN needs",
        "gan_lt.classifier.command",
        "classifier_command",
    ),
    "dataset": ("inspect or convert an image set", "gan_lt.cli", "dataset_command"),
    "import": (
        "turn a StyleGAN2-ADA .pkl into networks of ours; runs no code from it",
        "gan_lt.interop.command",
        "import_command",
    ),
    "export": (
        "write a generator as ONNX or as a torch.export program",
        "gan_lt.interop.export_command",
        "export_command",
    ),
    "card": (
        "write the model card of a run's network, with its evaluation",
        "gan_lt.interop.card_command",
        "card_command",
    ),
    "push": (
        "upload a run's network and card to the Hugging Face Hub",
        "gan_lt.interop.push_command",
        "push_command",
    ),
    "app": (
        "a page to try a network in: choose class, seed, truncation",
        "gan_lt.app.command",
        "app_command",
    ),
    "doctor": ("print which kernels run here; what ails a run", "gan_lt.doctor", "doctor_command"),
    "completion": (
        "print a completion script for bash, zsh or fish",
        "gan_lt.completion",
        "completion_command",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `gan-lt`; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--version"]:
        print(f"gan-lt {__version__}")
        return 0
    if not given or given[0] in ("-h", "--help") or given[0] not in _COMMANDS:
        known = bool(given) and given[0] in ("-h", "--help")
        lines = [f"  gan-lt {name:<10} {text}" for name, (text, _, _) in _COMMANDS.items()]
        text = "\n".join(["usage: gan-lt COMMAND ...", *lines, "  gan-lt COMMAND --help    its options"])
        if given and not known:
            hint = did_you_mean(given[0], _COMMANDS)
            print(f"error: {given[0]!r} is not a command{hint}; gan-lt --help lists them", file=sys.stderr)
            return 2
        print(text, file=sys.stdout if known else sys.stderr)
        return 0 if known else 2
    name = given[0]
    _, module, function = _COMMANDS[name]
    with loading():
        from gan_lt.commands import run_command

        command = getattr(import_module(module), function)
    if name == "eval":  # has the same manners, and its own prefix
        return int(command(given[1:]))
    return run_command(lambda rest: command(rest, f"gan-lt {name}"), given[1:])


def dataset_parser(prog: str = "gan-lt dataset") -> argparse.ArgumentParser:
    """The options of `gan-lt dataset`."""
    from gan_lt.data.commands import add_dataset_arguments

    parser = CommandParser(prog=prog, description="Inspect or convert an image set.")
    add_dataset_arguments(parser)
    return parser


def dataset_command(arguments: Sequence[str], prog: str = "gan-lt dataset") -> int:
    """`gan-lt dataset`: inspect or convert."""
    from gan_lt.data.commands import run_dataset_command

    return run_dataset_command(dataset_parser(prog).parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
