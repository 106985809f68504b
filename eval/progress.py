"""A progress bar on standard error, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Progress:
    """Bars for long steps; silent unless `shown`, and where standard error is not a terminal."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown

    @contextmanager
    def task(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Yields a function that advances the bar by so many of `total`."""
        if not self.shown:
            yield lambda amount: None
            return
        from rich import progress as bars
        from rich.console import Console

        console = Console(stderr=True)
        columns = (
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
        )
        with bars.Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        ) as shown:
            task = shown.add_task(what, total=total)
            yield lambda amount: shown.advance(task, amount)
