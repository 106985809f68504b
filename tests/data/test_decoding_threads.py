"""in_threads: all of the work, in order, by one thread or several, and never a million pieces of it waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from gan_lt.data import threads
from gan_lt.data.threads import Pace, in_threads

Cost = Callable[[int], float]


class Work:
    """Lets a clock of its own go on by what each image costs, and notes which were done in the caller's thread."""

    def __init__(self, cost: Cost) -> None:
        self.cost, self.now, self.alone = cost, 0.0, 0

    def __call__(self, span: range) -> list[int]:
        if threading.current_thread() is threading.main_thread():
            self.now += sum(map(self.cost, span))
            self.alone += len(span)
        return list(span)


@pytest.fixture
def make_work(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cost], Work]:
    def make(cost: Cost) -> Work:
        work = Work(cost)
        monkeypatch.setattr(threads.time, "perf_counter", lambda: work.now)
        return work

    return make


MakeWork = Callable[[Cost], Work]


@pytest.mark.parametrize("n", [0, 1, 2, 9, 10, 1000])
@pytest.mark.parametrize("seconds", [0.0, 1e-3, 0.5])
@pytest.mark.parametrize("count", [1, 3])
def test_all_is_done_once_and_in_order(make_work: MakeWork, n: int, seconds: float, count: int) -> None:
    work = make_work(lambda image: seconds)
    assert [image for span in in_threads(work, n, count) for image in span] == list(range(n))
    if count == 1 or seconds == 0:
        assert work.alone == n  # what is quick is done here alone
    else:
        assert work.alone == min(n, 2 if seconds > 0.1 else 10)


def test_quick_images_in_front_of_slow_ones_do_not_decide(make_work: MakeWork) -> None:
    work = make_work(lambda image: 1e-5 if image < 500 else 5e-3)
    list(in_threads(work, 1000, 16))
    assert 500 < work.alone < 520


def test_other_work_that_comes_between_does_not_decide(make_work: MakeWork) -> None:
    work = make_work(lambda image: 4e-3 + 1e-4 if image % 40 == 30 else 1e-4)
    list(in_threads(work, 1000, 16))
    assert work.alone == 1000


def test_slow_images_are_remembered_for_a_second(make_work: MakeWork) -> None:
    work, pace = make_work(lambda image: 5e-3), Pace()
    alone = []
    for later in (0.0, 0.1, 0.1, 5.0, 0.1):
        work.now += later
        before = work.alone
        list(in_threads(work, 32, 16, pace))
        alone.append(work.alone - before)
    assert alone == [2, 0, 0, 1, 0]
    work.now += 5
    work.cost = lambda image: 1e-5
    before = work.alone
    list(in_threads(work, 32, 16, pace))
    assert work.alone - before == 32


def test_slow_images_are_shared_out_evenly(make_work: MakeWork) -> None:
    spans = list(in_threads(make_work(lambda image: 2.5e-3), 34, 16))
    assert [len(span) for span in spans] == [1, 1] + [2] * 16


def test_slow_images_of_a_large_set_are_not_queued_one_by_one(make_work: MakeWork) -> None:
    spans = list(in_threads(make_work(lambda image: 1.0), 10**6, 2))
    assert len(spans) <= 2**14 + 2
    assert (spans[0][0], spans[-1][-1]) == (0, 10**6 - 1)
