"""Where a run's words go."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console


@pytest.fixture
def console(tmp_path: Path) -> Console:
    with open(tmp_path / "console.txt", "w") as file:
        yield Console(file=file, width=1000)
