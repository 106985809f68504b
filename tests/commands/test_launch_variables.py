"""Training, generate and eval agree on when torchrun started them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest

from eval.ranks import ranks_of_torchrun
from gan_lt.commands import run_command
from gan_lt.processes import launched_by_torchrun
from gan_lt.sampling.ranks import joined_ranks

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK")
JOINED = (joined_ranks, ranks_of_torchrun)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("joined", JOINED)
@pytest.mark.parametrize("left", [{}, {"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}])
def test_variables_that_a_cluster_sets_without_a_rank_are_no_launch(
    joined: Callable[[], AbstractContextManager[Any]], left: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    assert not launched_by_torchrun()
    with joined() as ranks:
        assert (ranks.rank, ranks.size, ranks.leads) == (0, 1, True)


@pytest.mark.parametrize("joined", JOINED)
@pytest.mark.parametrize(
    "wrong", [{"RANK": ""}, {"RANK": "abc"}, {"RANK": "2"}, {"RANK": "-1"}, {"MASTER_PORT": ""}]
)
def test_wrong_variables_are_one_line(
    joined: Callable[[], AbstractContextManager[Any]],
    wrong: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in zip(VARIABLES, ("0", "2", "127.0.0.1", "29500", "0"), strict=True):
        monkeypatch.setenv(name, wrong.get(name, value))

    def command(_: Sequence[str]) -> int:
        with joined():
            return 0

    (name, value) = next(iter(wrong.items()))
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert run_command(command, []) == 2
    said = capsys.readouterr().err
    assert f"{name}={value!r}" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("joined", JOINED)
def test_a_launch_of_one_process_leads(
    joined: Callable[[], AbstractContextManager[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in zip(VARIABLES, ("0", "1", "127.0.0.1", str(port), "0"), strict=True):
        monkeypatch.setenv(name, value)
    assert launched_by_torchrun()
    with joined() as ranks:
        assert (ranks.rank, ranks.size, ranks.leads) == (0, 1, True)
