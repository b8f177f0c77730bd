"""Running work: results in order, errors end it, threads are bounded, nothing is computed far ahead or waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor import runs
from processor.runs import Run, Threads, serial

RUNS = [serial, *map(Threads, (1, 2, 3, 8))]


class Broken(Exception):
    """What a piece of work raises."""


def fails_at(broken: int, done: list[int] | None = None) -> Callable[[int], int]:
    def work(item: int) -> int:
        if item == broken:
            raise Broken(str(item))
        if done is not None:
            done.append(item)
        return item

    return work


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("broken", [0, 1, 57, 99])
def test_an_exception_ends_the_run_where_it_belongs(run: Run, broken: int) -> None:
    found: list[int] = []

    with pytest.raises(Broken, match=f"^{broken}$"):
        for result in run(fails_at(broken), range(100)):
            found.append(result)

    assert found == list(range(broken))


@pytest.mark.parametrize("run", RUNS)
def test_of_two_errors_the_first_in_order_counts(run: Run) -> None:
    def work(item: int) -> int:
        time.sleep(0.02 * (item == 1))  # the later one happens first
        raise Broken(str(item))

    with pytest.raises(Broken, match=r"^1$"):
        list(run(lambda item: item if item == 0 else work(item), range(5)))


@pytest.mark.parametrize("threads", [2, 8])
def test_after_an_error_little_more_is_begun(threads: int) -> None:
    done: list[int] = []

    with pytest.raises(Broken):
        list(Threads(threads)(fails_at(0, done), range(10_000)))

    assert len(done) <= 4 * threads


@pytest.mark.parametrize("threads", [2, 8])
def test_a_caller_that_stops_leaves_no_thread_behind(threads: int) -> None:
    before = threading.active_count()
    results = iter(Threads(threads)(lambda item: item, range(10_000)))

    assert next(results) == 0
    del results

    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_results_are_in_order_however_long_each_takes(threads: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (-item % 7))
        return item * item

    assert list(Threads(threads)(work, range(60))) == [item * item for item in range(60)]


@settings(max_examples=30)
@given(st.lists(st.integers(), max_size=50), st.integers(1, 9))
def test_any_run_is_the_serial_one(items: list[int], threads: int) -> None:
    assert list(Threads(threads)(str, items)) == list(serial(str, items)) == [str(item) for item in items]


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_no_more_threads_work_than_asked_for(threads: int) -> None:
    lock, at_once, most = threading.Lock(), 0, 0
    names: set[str] = set()

    def work(item: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            names.add(threading.current_thread().name)
        time.sleep(0.001)
        with lock:
            at_once -= 1
        return item

    list(Threads(threads)(work, range(200)))

    assert 2 <= most <= threads
    assert len(names) <= threads


@pytest.mark.parametrize("threads", [2, 8])
def test_results_that_nobody_took_yet_are_bounded(threads: int) -> None:
    done: list[int] = []
    results = iter(Threads(threads)(fails_at(-1, done), range(10_000)))

    for _ in range(5):
        next(results)
    time.sleep(0.05)

    assert len(done) <= 5 + 2 * threads + 1
    assert list(results) == list(range(5, 10_000))


def test_a_run_within_a_run_does_not_wait_for_itself() -> None:
    run = Threads(2)

    def inner(item: int) -> int:
        return sum(run(lambda part: part + item, range(10)))

    assert list(run(inner, range(20))) == [45 + 10 * item for item in range(20)]


def test_one_thread_and_one_item_need_no_pool() -> None:
    def thread(item: int) -> str:
        return threading.current_thread().name

    here = threading.current_thread().name
    assert list(Threads(1)(thread, range(3))) == [here] * 3
    assert list(Threads(8)(thread, [1])) == [here]


def test_threads_are_bounded() -> None:
    assert Threads(512).count == runs.MOST_THREADS
    assert Threads(3).count == 3
