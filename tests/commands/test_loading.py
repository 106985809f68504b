"""Ctrl-C while an entry point still loads its modules."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gan_lt.loading import loading

ROOT = Path(__file__).parents[2]
TORCH = """
import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0.1)
raise RuntimeError("what a module makes of an interruption")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are Unix's")
@pytest.mark.parametrize(
    "command",
    [
        ["train.py"],
        ["generate.py"],
        ["-m", "gan_lt.cli", "train"],
        ["-m", "gan_lt.cli", "eval"],
        ["-m", "eval"],
    ],
)
def test_an_interruption_is_one_line(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(TORCH)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_the_usual_handler_comes_back_and_others_stay() -> None:
    usual = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with loading():
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with loading():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, usual)


def test_elsewhere_than_in_the_main_thread_nothing_is_changed() -> None:
    entered = []

    def load() -> None:
        with loading():
            entered.append(True)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert entered
