"""in_threads: all of the work, in order, by one thread or several, and never a million pieces of it waiting."""

from __future__ import annotations

import itertools
import threading

import pytest

from gan_lt.data import pixels


@pytest.mark.parametrize("n", [0, 1, 2, 9, 10, 1000])
@pytest.mark.parametrize("seconds", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("threads", [1, 3])
def test_all_is_done_once_and_in_order(
    n: int, seconds: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=9 * seconds)  # two readings around each of the first spans
    monkeypatch.setattr(pixels.time, "perf_counter", lambda: next(clock))
    names: set[str] = set()

    def work(span: range) -> list[int]:
        names.add(threading.current_thread().name)
        return list(span)

    done = [position for span in pixels.in_threads(work, n, threads) for position in span]
    assert done == list(range(n))
    # what is quick is done here alone
    assert len(names) <= 1 or (threads > 1 and seconds > 0)
    if n == 1000 and threads > 1 and seconds > 0:
        assert any(name.startswith("gan_lt-decode") for name in names)


def test_slow_images_of_a_large_set_are_not_queued_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(pixels.time, "perf_counter", lambda: next(clock))
    spans = list(pixels.in_threads(lambda span: span, 10**6, 2))
    assert len(spans) <= 2**14 + 2
    assert (spans[0].start, spans[-1].stop) == (0, 10**6)
