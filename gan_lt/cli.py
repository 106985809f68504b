"""`gan-lt train|generate|grid|eval|classifier|dataset|import|doctor`: the installed command, the same code as the scripts."""

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
    "doctor": "print which kernels run here; what ails a run",
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
    if command == "doctor":
        from gan_lt.doctor import doctor_command

        return run_command(doctor_command, rest)
    from eval.command import main as evaluate

    return evaluate(rest)


def _dataset(arguments: Sequence[str]) -> int:
    from gan_lt.data.commands import add_dataset_arguments, run_dataset_command

    parser = argparse.ArgumentParser(prog="gan-lt dataset", description="Inspect or convert an image set.")
    add_dataset_arguments(parser)
    return run_dataset_command(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
