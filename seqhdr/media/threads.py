"""Read ahead and write behind: decode, compute and encode overlap, in bounded memory.

Errors of the other thread are raised in the caller, at the place where their result would have come.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["WriteBehind", "read_ahead"]

T = TypeVar("T")
_END = object()


def read_ahead(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Run an iterator in a thread, ahead of its consumer.

    Args:
        items: iterated in the thread; what it raises is raised here, after the items before it.
        depth: how many finished items may wait; one more may be on its way.
    """
    waiting: queue.Queue[tuple[object, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(entry: tuple[object, BaseException | None]) -> None:
        while not stop.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                if stop.is_set():
                    return
        except BaseException as error:  # handed over whole: the consumer decides
            put((_END, error))
        else:
            put((_END, None))

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


class WriteBehind(Generic[T]):
    """Hand jobs to one writer thread; at most ``depth`` wait, so memory stays bounded.

    Leaving the context waits for what was handed over, also when an error or Ctrl-C is on its way out: a frame
    whose writing has begun is finished.
    """

    def __init__(self, depth: int = 2) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._pending: deque[Future[T]] = deque()
        self._finished: list[T] = []
        self._depth = depth

    def submit(self, job: Callable[[], T]) -> list[T]:
        """Queue a job; returns the results of those finished by now, oldest first.

        Raises:
            BaseException: whatever an earlier job raised.
        """
        done = self._collect(len(self._pending) - self._depth + 1)
        self._pending.append(self._pool.submit(job))
        return done

    def finish(self) -> list[T]:
        """Wait for all jobs; returns the remaining results, raises what a job raised."""
        return self._collect(len(self._pending))

    def drain(self) -> list[T]:
        """Wait for all jobs; returns the results of those that succeeded and forgets the errors of the others."""
        while self._pending:
            if self._pending[0].exception() is None:
                self._finished.append(self._pending[0].result())
            self._pending.popleft()
        return self._hand_over()

    def _collect(self, at_least: int) -> list[T]:
        while self._pending and (at_least > 0 or self._pending[0].done()):
            # Taken off only when it is known: an error or Ctrl-C here must not lose the results before it.
            self._finished.append(self._pending[0].result())
            self._pending.popleft()
            at_least -= 1
        return self._hand_over()

    def _hand_over(self) -> list[T]:
        finished, self._finished = self._finished, []
        return finished

    def __enter__(self) -> Self:
        """Nothing to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let running and queued jobs end."""
        self._pool.shutdown(wait=True)
