"""One lock for training and sampling: another process is refused, a file system that has no locks is not."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_lt.errors import InputError
from gan_lt.models import Generator
from gan_lt.sampling import plan_per_class, write_synthetic_set
from gan_lt.sampling.unfinished import unfinished_path
from gan_lt.training.run_directory import exclusive

MakeGenerator = Callable[..., Generator]


def fail_with(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(file: object, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_where_there_are_no_locks_work_goes_on(
    tmp_path: Path, make_generator: MakeGenerator, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    G, out = make_generator(), tmp_path / "out"
    fail_with(monkeypatch, number)
    assert write_synthetic_set(G, plan_per_class(G, 2, None), out).made.tolist() == [2, 2, 2]
    assert os.listdir(tmp_path) == ["out"]
    with exclusive(tmp_path):
        pass


def test_a_disk_that_fails_is_not_another_process(
    tmp_path: Path, make_generator: MakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    G, out = make_generator(), tmp_path / "out"
    fail_with(monkeypatch, errno.EIO)
    with pytest.raises(InputError, match=r"can't be written \(Input/output error\)"):
        write_synthetic_set(G, plan_per_class(G, 2, None), out)
    assert os.listdir(tmp_path) == []
    with pytest.raises(InputError, match=r"can't be written \(Input/output error\)"), exclusive(tmp_path):
        pass


def test_another_process_is_waited_for(tmp_path: Path, make_generator: MakeGenerator) -> None:
    G, out = make_generator(), tmp_path / "out"
    unfinished_path(out).mkdir()
    with open(unfinished_path(out) / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process; wait"):
            write_synthetic_set(G, plan_per_class(G, 2, None), out)
    assert write_synthetic_set(G, plan_per_class(G, 2, None), out).made.tolist() == [2, 2, 2]
