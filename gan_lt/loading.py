"""Ctrl-C while modules are loaded: that takes seconds, and nothing is made in them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def loading() -> Iterator[None]:
    """A block of imports in which Ctrl-C ends the process at once, with one line.

    For entry points alone. The usual exception may come up in the midst of a module of torch's or NumPy's, which is not made
    for that: the traceback is long, or another error takes its place.
    """
    usual = signal.getsignal(signal.SIGINT)
    # another handler, or none, is somebody's choice; Python allows handlers in the main thread only
    if usual is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _end(number: int, frame: FrameType | None) -> None:
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(130)
