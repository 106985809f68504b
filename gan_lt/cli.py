"""`gan-lt COMMAND`: the installed command, the same code as the scripts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gan_lt.version import __version__

_COMMANDS = {
    "train": "train a network (as train.py)",
    "generate": "sample a synthetic set (as generate.py)",
    "grid": "draw samples, interpolations or a sweep of truncation",
    "eval": "compare generated with real images (as python -m eval)",
    "classifier": "train a long-tail classifier, which CBGAN needs",
    "dataset": "inspect or convert an image set",
    "import": "turn a StyleGAN2-ADA .pkl into networks of ours; runs no code from it",
    "export": "write a generator as ONNX or as a torch.export program",
    "card": "write the model card of a run's network, with its evaluation",
    "push": "upload a run's network and card to the Hugging Face Hub",
    "app": "a page to try a network in: choose class, seed, truncation",
    "doctor": "print which kernels run here; what ails a run",
    "completion": "print a completion script for bash, zsh or fish",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `gan-lt`; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--version"]:
        print(f"gan-lt {__version__}")
        return 0
    if not given or given[0] in ("-h", "--help") or given[0] not in _COMMANDS:
        known = bool(given) and given[0] in ("-h", "--help")
        lines = [f"  gan-lt {name:<10} {text}" for name, text in _COMMANDS.items()]
        text = "\n".join(["usage: gan-lt COMMAND ...", *lines, "  gan-lt COMMAND --help    its options"])
        if given and not known:
            print(f"error: {given[0]!r} is not a command of gan-lt", file=sys.stderr)
        print(text, file=sys.stdout if known else sys.stderr)
        return 0 if known else 2
    command, rest = given[0], given[1:]
    from gan_lt.commands import generate_command, run_command, train_command

    if command == "train":
        return run_command(lambda a: train_command(a, "gan-lt train"), rest)
    if command == "generate":
        return run_command(lambda a: generate_command(a, "gan-lt generate"), rest)
    if command == "grid":
        from gan_lt.grid_command import grid_command

        return run_command(lambda a: grid_command(a, "gan-lt grid"), rest)
    if command == "dataset":
        return run_command(_dataset, rest)
    if command == "classifier":
        from gan_lt.classifier.command import classifier_command

        return run_command(lambda a: classifier_command(a, "gan-lt classifier"), rest)
    if command == "import":
        from gan_lt.interop.command import import_command

        return run_command(lambda a: import_command(a, "gan-lt import"), rest)
    if command == "export":
        from gan_lt.interop.export_command import export_command

        return run_command(lambda a: export_command(a, "gan-lt export"), rest)
    if command == "card":
        from gan_lt.interop.card_command import card_command

        return run_command(lambda a: card_command(a, "gan-lt card"), rest)
    if command == "push":
        from gan_lt.interop.push_command import push_command

        return run_command(lambda a: push_command(a, "gan-lt push"), rest)
    if command == "app":
        from gan_lt.app.command import app_command

        return run_command(lambda a: app_command(a, "gan-lt app"), rest)
    if command == "doctor":
        from gan_lt.doctor import doctor_command

        return run_command(doctor_command, rest)
    if command == "completion":
        from gan_lt.completion import completion_command

        return run_command(lambda a: completion_command(a, "gan-lt completion"), rest)
    from eval.command import main as evaluate

    return evaluate(rest)


def dataset_parser(prog: str = "gan-lt dataset") -> argparse.ArgumentParser:
    """The options of `gan-lt dataset`."""
    from gan_lt.data.commands import add_dataset_arguments

    parser = argparse.ArgumentParser(prog=prog, description="Inspect or convert an image set.")
    add_dataset_arguments(parser)
    return parser


def _dataset(arguments: Sequence[str]) -> int:
    from gan_lt.data.commands import run_dataset_command

    return run_dataset_command(dataset_parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
