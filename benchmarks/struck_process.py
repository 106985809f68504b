"""A command in a forked process that is struck: killed or asked to stop at a random moment, or within a write."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Command = Callable[[Sequence[str]], int]
TIME_LIMIT = 300.0


@dataclass(frozen=True)
class Strike:
    """What happens to a process, and when.

    kind: "kill" and "term" send a signal after `seconds`; "write" kills at the `call`-th renaming, syncing or saving of a
    file, before or after it; "power" is a kill after which the caller damages what was written last.
    """

    kind: str
    seconds: float = 0.0
    call: int = 0
    after: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    struck: it was alive when the strike came. status: its exit status, the negative number of the signal that ended it.
    seconds: it lived. stopped_in: seconds from the signal to the end. first_work: seconds from the start to the first
    piece of work done, None where there was none.
    """

    struck: bool
    status: int
    seconds: float
    stopped_in: float
    first_work: float | None
    said: str


class Account:
    """Adds up what happened in all attempts of one kind."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.runs = self.resumes = self.failures = 0
        self.differing = self.lost = self.doubled = self.left_behind = 0
        self.resume_seconds: list[float] = []
        self.stop_seconds: list[float] = [0.0]

    def add(self, outcome: Outcome, strike: Strike | None, resumed: bool) -> None:
        self.resumes += resumed
        if resumed and outcome.first_work is not None:
            self.resume_seconds.append(outcome.first_work)
        if strike is not None and outcome.struck:
            self.kinds[strike.kind] += 1
            if strike.kind == "term":
                self.stop_seconds.append(outcome.stopped_in)
            # before the command listens, SIGTERM has its usual effect
            expected = (0, 130, -15) if strike.kind == "term" else (-9,)
        else:
            expected = (0,)
        if outcome.status not in expected:
            self.failures += 1
            print(f"status {outcome.status} after {strike}: {outcome.said[-2000:]}", file=sys.stderr)

    @property
    def kills(self) -> int:
        return sum(self.kinds.values())

    def result(self) -> dict[str, Any]:
        seconds = self.resume_seconds or [0.0]
        return {
            "kills": self.kills,
            "kinds": dict(sorted(self.kinds.items())),
            "runs": self.runs,
            "resumes": self.resumes,
            "bytes_that_differ": self.differing,
            "images_lost": self.lost,
            "images_doubled": self.doubled,
            "files_left_behind": self.left_behind,
            "failures": self.failures,
            "resume_seconds": {
                "median": round(statistics.median(seconds), 3),
                "max": round(max(seconds), 3),
            },
            "stop_seconds_max": round(max(self.stop_seconds), 3),
        }


def run_struck(
    command: Command,
    arguments: Sequence[str],
    strike: Strike | None,
    log: Path,
    watch: Callable[[Callable[[], None]], None],
) -> Outcome:
    """Run `command(arguments)` in a fork of this process, which has imported everything already.

    strike: None lets it end by itself. log: receives what it says. watch: called in the child with a function to call
    whenever a piece of work is done.

    Raises:
        RuntimeError: it has not ended after 300 s.
    """
    mark = log.with_suffix(".mark")
    mark.unlink(missing_ok=True)
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(command, arguments, strike, log, mark, watch)
    struck, struck_at = False, start
    if strike is not None and strike.kind != "write":
        status = _wait(pid, start + strike.seconds)
        if status is None:
            number = signal.SIGTERM if strike.kind == "term" else signal.SIGKILL
            struck, struck_at = True, time.monotonic()
            os.kill(pid, number)
            status = _wait(pid, start + TIME_LIMIT)
            # it may have ended by itself in the moment before
            struck = strike.kind == "term" or status == -signal.SIGKILL
    else:
        status = _wait(pid, start + TIME_LIMIT)
        struck = strike is not None and status == -signal.SIGKILL
    if status is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise RuntimeError(f"not ended after {TIME_LIMIT:.0f} s: {list(arguments)}")
    end = time.monotonic()
    first = float(mark.read_text()) - start if mark.exists() and mark.stat().st_size else None
    return Outcome(struck, status, end - start, end - struck_at, first, log.read_text(errors="replace"))


def _wait(pid: int, deadline: float) -> int | None:
    """The exit status of a process, None when it lives at the deadline."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.002)


def _child(
    command: Command,
    arguments: Sequence[str],
    strike: Strike | None,
    log: Path,
    mark: Path,
    watch: Callable[[Callable[[], None]], None],
) -> None:
    status = 1
    try:
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

        def work_done() -> None:
            if not mark.exists():
                mark.write_text(str(time.monotonic()))

        watch(work_done)
        if strike is not None and strike.kind == "write":
            _strike_within_writes(strike)
        status = command(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        # no clean-up of the parent's: it has its own
        os._exit(status)


def _strike_within_writes(strike: Strike) -> None:
    from gan_lt.models import pretrained
    from gan_lt.training import checkpoint

    calls = 0

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == strike.call and not strike.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*arguments, **more)
            if calls == strike.call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for module, name in (
        (os, "replace"),
        (os, "fsync"),
        (checkpoint, "save_file"),
        (pretrained, "save_file"),
    ):
        setattr(module, name, deadly(getattr(module, name)))
