"""Answers made in threads, followed from the event loop.

An answer waits for its search and its model, so it runs in a thread; the connection that it is
for is served by the event loop, which must never wait. What comes faster than it can be sent is
put together: the more answers run, the larger the pieces, so that fifty readers cost the
processor little more than one. The first piece is never held. What a slow reader has not taken yet
is kept; that is one answer at most, and answers have an end (`app.llm_limits`).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context

from app.answer import Delta, Event
from app.room import Room
from app.stopping import Stop

ANSWERS_AT_ONCE = 64
MAX_WAITING = ANSWERS_AT_ONCE  # for no longer than an answer takes, then
BATCHES_PER_S = 200  # of all answers together
SLOWEST_S = 0.5  # between two pieces of an answer, however many run


class AnswerThreads:
    """The threads in which answers are made; some more than there are threads wait their turn."""

    def __init__(self, threads: int = ANSWERS_AT_ONCE, *, waiting: int = MAX_WAITING) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._free = asyncio.Semaphore(threads)
        self._room = Room(threads + waiting, "questions are being answered or wait for it")

    async def follow(self, events: Generator[Event]) -> AsyncGenerator[list[Event]]:
        """Run a generator in a thread, and yield what it has come to, several events at once.

        Closing this closes `events`, and cuts short what it waits for.

        :raises BusyError: too many wait already.
        :raises Exception: what `events` raises, after all that it yielded before.
        """
        with self._room.stay():
            await self._free.acquire()
            inbox = _Inbox()
            filling = inbox.loop.run_in_executor(
                self._threads, copy_context().run, inbox.fill, events
            )
            filling.add_done_callback(lambda _: self._free.release())
            try:
                while batch := await inbox.take():
                    yield batch
                    if any(isinstance(event, Delta) for event in batch):
                        await asyncio.sleep(min(self._room.inside / BATCHES_PER_S, SLOWEST_S))
            finally:
                inbox.closed.set()

    def close(self) -> None:
        """Start no further answers; those that run end with their connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Inbox:
    """What one thread has made and the event loop has not yet taken."""

    def __init__(self) -> None:
        self.closed = Stop()  # nobody takes any more
        self.loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._waiting = False
        self._arrived = asyncio.Event()

    def fill(self, events: Generator[Event]) -> None:
        """Put in all events; runs in the thread."""
        try:
            with self.closed.watching(), closing(events):
                while not self.closed.is_set() and (event := next(events, None)):
                    self._events.append(event)
                    self._wake()
        except BaseException as error:  # it is raised where the events are taken
            self._error = error
        finally:
            self._ended = True
            self._wake()

    async def take(self) -> list[Event]:
        """Wait until there is something and take it all; nothing at the end.

        :raises Exception: what ended the events, once they are taken.
        """
        while True:
            self._arrived.clear()
            self._waiting = True
            ended = self._ended  # read before the events: none comes after it
            batch = [self._events.popleft() for _ in range(len(self._events))]
            if batch or ended:
                self._waiting = False
                break
            await self._arrived.wait()
        if not batch and self._error:
            raise self._error
        return batch

    def _wake(self) -> None:
        """Wake the event loop if it waits: that costs more than an event."""
        if self._waiting:
            self._waiting = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
                self.loop.call_soon_threadsafe(self._arrived.set)
