"""Reading ahead and writing behind: bounded, in order, and no error is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from seqhdr.media.threads import WriteBehind, read_ahead


def wait_until(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    return true()


def readers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "read-ahead"]


def test_everything_arrives_in_order_and_the_thread_ends() -> None:
    assert list(read_ahead(iter(range(20)))) == list(range(20))
    assert list(read_ahead([])) == []
    assert not readers()


def test_the_items_are_made_in_another_thread() -> None:
    def items() -> Iterator[int]:
        yield threading.get_ident()

    assert list(read_ahead(items())) != [threading.get_ident()]


def test_an_error_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("third")

    seen: list[int] = []
    with pytest.raises(KeyError, match="third"):
        seen.extend(read_ahead(items()))
    assert seen == [1, 2]
    assert not readers()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_no_more_than_the_depth_and_one_are_made_ahead(depth: int) -> None:
    made = []

    def items() -> Iterator[int]:
        for item in range(50):
            made.append(item)
            yield item

    stream = read_ahead(items(), depth)
    next(stream)
    assert wait_until(lambda: len(made) >= depth + 2)  # that taken, those waiting, one on its way
    time.sleep(0.1)
    assert len(made) == depth + 2
    stream.close()  # type: ignore[attr-defined]


def test_leaving_early_stops_the_thread() -> None:
    made = []

    def items() -> Iterator[int]:
        item = 0
        while True:
            made.append(item)
            yield item
            item += 1

    for item in read_ahead(items()):
        if item == 3:
            break
    assert wait_until(lambda: not readers())
    count = len(made)
    time.sleep(0.05)
    assert len(made) == count


def test_an_error_of_the_consumer_stops_the_thread() -> None:
    with pytest.raises(ZeroDivisionError):
        any(1 // (item - 5) > 0 for item in read_ahead(iter(range(1000))))
    assert wait_until(lambda: not readers())


def test_jobs_run_one_after_the_other_in_order_elsewhere() -> None:
    threads = set()

    def job(n: int) -> Callable[[], int]:
        def work() -> int:
            threads.add(threading.get_ident())
            return n

        return work

    done: list[int] = []
    with WriteBehind[int]() as behind:
        for n in range(10):
            done += behind.submit(job(n))
        done += behind.finish()
    assert done == list(range(10))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_full_queue_holds_the_caller_back() -> None:
    gate, handed = threading.Event(), []

    def caller() -> None:
        with WriteBehind[bool](depth=2) as behind:
            for n in range(4):
                behind.submit(lambda: gate.wait(30))
                handed.append(n)

    thread = threading.Thread(target=caller)
    thread.start()
    assert wait_until(lambda: len(handed) == 2)
    time.sleep(0.1)
    assert handed == [0, 1]
    gate.set()
    thread.join()
    assert handed == [0, 1, 2, 3]


def fail() -> str:
    raise OSError("disk")


def test_what_was_finished_before_an_error_is_not_lost() -> None:
    with WriteBehind[str](depth=5) as behind:
        gate = threading.Event()
        behind.submit(lambda: "first" if gate.wait(30) else "never")
        behind.submit(fail)
        behind.submit(lambda: "third")
        gate.set()
        with pytest.raises(OSError, match="disk"):
            behind.finish()
        assert behind.drain() == ["first", "third"]
        assert behind.drain() == []


def test_a_later_submit_raises_the_error_of_an_earlier_job() -> None:
    with WriteBehind[str](depth=1) as behind:
        behind.submit(fail)
        with pytest.raises(OSError, match="disk"):
            behind.submit(lambda: "second")
        assert behind.drain() == []


def test_leaving_with_an_error_lets_the_jobs_end() -> None:
    ended = []

    def slow() -> None:
        time.sleep(0.05)
        ended.append(True)

    def broken_off() -> None:
        with WriteBehind[None]() as behind:
            behind.submit(slow)
            behind.submit(slow)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert ended == [True, True]
    assert not [t for t in threading.enumerate() if t.name.startswith("write-behind")]
