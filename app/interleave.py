"""Several streams at once, as one: each in a thread of its own, none waiting for another.

Whoever reads gets one item of each stream in turn, as far as there are any, so that a fast one
does not hide a slow one. Closing the result stops all of them.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Reader(Generic[T]):
    """Reads one stream in its thread, up to its end or its error."""

    stream: Generator[T]
    ready: Semaphore  # counts what is in the queues of all readers
    stopped: Event
    items: "SimpleQueue[T | _End]" = field(default_factory=SimpleQueue)

    def run(self) -> None:
        end = _End()
        try:
            with closing(self.stream):
                for item in self.stream:
                    if self.stopped.is_set():
                        break
                    self._put(item)
        except BaseException as error:  # raised again where the streams are read
            end = _End(error)
        self._put(end)

    def _put(self, item: "T | _End") -> None:
        self.items.put(item)
        self.ready.release()


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


def interleave(streams: Sequence[Generator[T]]) -> Generator[tuple[int, T]]:
    """Yield the items of all streams as they come, with the number of their stream, from 0.

    An error of one stream is raised when its turn comes, and stops the others; so does closing
    this. A stream that is waiting ends with the next thing that it gets, or when its time is up.
    """
    ready, stopped = Semaphore(0), Event()
    readers = [_Reader(stream, ready, stopped) for stream in streams]
    for number, reader in enumerate(readers):
        # As a daemon: a server that says nothing must not keep the program from ending.
        # In our context, so that what can be stopped here can be stopped there (`app.stopping`).
        inside = partial(copy_context().run, reader.run)
        Thread(target=inside, name=f"codeqa-stream-{number}", daemon=True).start()
    running, turn = len(readers), 0
    try:
        while running:
            ready.acquire()
            turn = next(
                number % len(readers)
                for number in range(turn, turn + len(readers))
                if not readers[number % len(readers)].items.empty()
            )
            item = readers[turn].items.get()
            if isinstance(item, _End):
                running -= 1
                if item.error is not None:
                    raise item.error
            else:
                yield turn, item
            turn += 1
    finally:
        stopped.set()
