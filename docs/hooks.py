"""What mkdocs does not do by itself: `folder/*` in the navigation, and links out of docs/ into the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# [text](../../benchmarks/x.py): the site has no such page, the repository does
_OUTSIDE = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)+(?:benchmarks|gan_lt|cuda_ops|eval|tests|[A-Z]+\.md|LICENSE)[^)]*\)"
)


def on_config(config: Any) -> Any:
    """Replace entries that end in * by the pages of that folder that no other entry names."""
    docs = Path(config["docs_dir"])
    named = {path for path in _paths(config["nav"]) if not path.endswith("*")}

    def expand(entry: Any) -> list[Any]:
        if isinstance(entry, dict):
            ((title, value),) = entry.items()
            if isinstance(value, str) and value.endswith("*"):
                value = [value]
            if isinstance(value, list):
                return [{title: [new for item in value for new in expand(item)]}]
            return [entry]
        if not entry.endswith("*"):
            return [entry]
        pages = sorted(path.relative_to(docs).as_posix() for path in docs.glob(f"{entry[:-1]}*.md"))
        return [page for page in pages if page not in named]

    config["nav"] = [new for entry in config["nav"] for new in expand(entry)]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn links into the repository into their text."""
    return _OUTSIDE.sub(r"\1", markdown)


def _paths(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [path for value in values for path in _paths(value)]
