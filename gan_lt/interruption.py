"""Ctrl-C and SIGTERM end the work where it can be ended; a second one ends it at once.

An exception that a signal raises wherever the program happens to be may hit code that is not made for it: C code that
takes it for an error of its own, a progress bar that has half started. A flag, looked at between two pieces of work, can't.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from gan_lt.processes import launched_by_torchrun

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """A context in which the first signal sets `requested` and the second has its usual effect."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        # Python allows signal handlers in the main thread only
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def check(self) -> None:
        """End here, as Ctrl-C does, if a signal has come.

        Raises:
            KeyboardInterrupt: it has.
        """
        if self.requested:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if launched_by_torchrun():
            # torchrun passes a Ctrl-C, which we have had from the terminal already, on as a SIGTERM
            signal.signal(number, self._previous.pop(signal.Signals(number)))
        else:
            self._restore()

    def _restore(self) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)
