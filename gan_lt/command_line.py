"""How commands read what is typed: a mistake is one line, which names the option that was meant."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean train?)`, or nothing where no known word is near."""
    # without their dashes, which make all options alike
    bare = {name.lstrip("-"): name for name in known}
    near = difflib.get_close_matches(word.lstrip("-"), list(bare), n=1)
    return f" (did you mean {bare[near[0]]}?)" if near else ""


class CommandParser(argparse.ArgumentParser):
    """argparse's parser with the manners of the commands: `error: ...` in one line and status 2, no usage around it."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, and remembers what was typed: a misspelt option often shows as another one that is missing."""
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the one line and exit with status 2."""
        options = _options(self)
        for typed in (text.partition("=")[0] for text in self._given if text.startswith("--")):
            # argparse takes any beginning of an option for it
            if typed != "--" and not any(option.startswith(typed) for option in options):
                unknown = f"{typed} is not an option{did_you_mean(typed, options)}"
                message = unknown if message.startswith("unrecognized arguments") else f"{message}; {unknown}"
                break
        self.exit(2, f"error: {' '.join(message.split())}; {self.prog} --help lists the options\n")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """All long options of a parser and of its sub-commands, which hand back what they don't know."""
    found: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found.extend(_options(command))
        found.extend(option for option in action.option_strings if option.startswith("--"))
    return found
