"""Images, a finished run, and the check that bad input leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gan_lt.commands import run_command, train_command
from tests.commands.runs import TINY, contents, write_images


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_images(tmp_path / "data", {"ant": 12, "bee": 5, "cow": 3})


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on ant, bee and cow."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_images(folder / "data", {"ant": 12, "bee": 5, "cow": 3})
    assert train_command(["--data", str(data), "--outdir", str(folder), "--name", "run", *TINY]) == 0
    return folder / "run"


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[Callable[..., int], list[Any]], str]:
    """``refused(train_command, [...])``: the one line it is refused with; nothing may have been written."""

    def run(command: Callable[..., int], arguments: list[Any]) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        assert run_command(command, [str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert contents(tmp_path) == before
        return err

    return run
