"""The commands and Python blocks of the README and of the documentation, page by page."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.M | re.S)
PROGRAMS = (
    "gan-lt", "python", "python3", "pip", "make", "source", "torchrun", "bash", "mkdocs", ".ci/run",
    ".venv/bin/python", "tensorboard", "git", "cd", "unzip", "curl", "wget", "docker", "huggingface-cli", "hf",
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, its language and its lines."""

    page: str
    language: str
    body: str

    @property
    def commands(self) -> list[str]:
        """The commands in it, continued lines joined, comments and prompts taken off.

        A block called bash holds nothing else; in one without a name every line that starts with a program is one.
        """
        if self.language not in ("", "bash", "console", "sh"):
            return []
        lines = self.body.replace("\\\n", " ").splitlines()
        stripped = [
            " ".join(shlex.split(line, comments=True, posix=False)) for line in map(unprompted, lines)
        ]
        return [line for line in stripped if line and (self.language == "bash" or is_command(line))]


def unprompted(line: str) -> str:
    """The line without a prompt; quotes that are not closed are left as they are."""
    line = line.strip().removeprefix("$ ")
    return line if line.count('"') % 2 == 0 and line.count("'") % 2 == 0 else ""


def is_command(line: str) -> bool:
    """Whether a line of a block without a language starts with a program."""
    return line.split(" ")[0] in PROGRAMS


def pages() -> list[str]:
    """README.md, CONTRIBUTING.md and all of docs/, as paths from the root."""
    docs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", *docs]


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(page, match["language"], undented(match)) for match in FENCE.finditer(text)]


def undented(match: re.Match[str]) -> str:
    """The body of a block inside a list, without the list's indentation."""
    return re.sub(rf"^{match['indent']}", "", match["body"], flags=re.M)
