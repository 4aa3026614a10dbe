"""Generators that run in threads, followed from an event loop."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Generator
from contextlib import aclosing

import pytest

from app.answer import Delta, Event, EvidenceFound
from app.event_stream import AnswerThreads
from app.stopping import Stop, is_stopped
from data_tools.errors import BusyError

FOUND = EvidenceFound((), words_only=False)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def collect(threads: AnswerThreads, events: Generator[Event]) -> list[list[Event]]:
    return [batch async for batch in threads.follow(events)]


async def test_every_event_arrives_in_order_and_the_first_text_at_once() -> None:
    def events() -> Generator[Event]:
        yield FOUND
        for number in range(200):
            yield Delta(str(number))

    batches = await collect(AnswerThreads(), events())
    arrived = [event for batch in batches for event in batch]
    assert arrived == [FOUND, *(Delta(str(number)) for number in range(200))]


async def test_the_more_answers_run_the_larger_are_the_pieces() -> None:
    def events() -> Generator[Event]:
        for _ in range(60):
            time.sleep(0.005)
            yield Delta("x")

    threads = AnswerThreads()
    alone = len(await collect(threads, events()))
    together = await asyncio.gather(*(collect(threads, events()) for _ in range(20)))
    assert max(len(batches) for batches in together) < alone / 2
    assert all(sum(len(batch) for batch in batches) == 60 for batches in together)


async def test_an_error_follows_what_came_before_it() -> None:
    def events() -> Generator[Event]:
        yield Delta("a")
        raise ValueError("it broke")

    arrived: list[Event] = []
    with pytest.raises(ValueError, match="it broke"):
        async for batch in AnswerThreads().follow(events()):
            arrived += batch
    assert arrived == [Delta("a")]


async def test_closing_closes_the_generator_in_its_thread() -> None:
    closed, stopped = threading.Event(), []

    def events() -> Generator[Event]:
        try:
            while True:
                yield Delta("x")
                time.sleep(0.001)
        finally:
            stopped.append(is_stopped())
            closed.set()

    async with aclosing(AnswerThreads().follow(events())) as batches:
        await anext(batches)
    assert await asyncio.to_thread(closed.wait, 5)
    assert stopped == [True]


async def test_what_waits_its_turn_never_starts_if_nobody_waits_for_it() -> None:
    threads, release, started = AnswerThreads(threads=1), threading.Event(), []

    def first() -> Generator[Event]:
        release.wait(5)
        yield Delta("first")

    def second() -> Generator[Event]:
        started.append(True)
        yield Delta("second")

    running = asyncio.ensure_future(collect(threads, first()))
    await asyncio.sleep(0.01)
    waiting = asyncio.ensure_future(collect(threads, second()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    release.set()
    assert await running == [[Delta("first")]]
    await collect(threads, first())
    assert not started


async def test_past_the_end_of_the_line_one_is_refused_and_comes_back_later() -> None:
    threads, release = AnswerThreads(threads=1, waiting=1), threading.Event()

    def events() -> Generator[Event]:
        release.wait(5)
        yield Delta("done")

    waiting = [asyncio.ensure_future(collect(threads, events())) for _ in range(2)]
    await asyncio.sleep(0.01)
    with pytest.raises(BusyError, match="2 questions .* ask again in"):
        await collect(threads, events())
    release.set()
    assert await asyncio.gather(*waiting) == [[[Delta("done")]]] * 2
    assert await collect(threads, events()) == [[Delta("done")]]


async def test_of_those_who_have_gone_nothing_waits_for_a_thread() -> None:
    threads, release = AnswerThreads(threads=1), threading.Event()
    alive: weakref.WeakSet[object] = weakref.WeakSet()

    class Asked:
        """What an answer holds."""

    def events(asked: Asked) -> Generator[Event]:
        release.wait(5)
        yield Delta("done")

    def ask() -> Generator[Event]:
        asked = Asked()
        alive.add(asked)
        return events(asked)

    running = asyncio.ensure_future(collect(threads, ask()))
    for _ in range(50):
        gone = asyncio.ensure_future(collect(threads, ask()))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        del gone
    gc.collect()
    assert len(alive) < 5  # the last one may still be looked at
    release.set()
    assert await running == [[Delta("done")]]


async def test_what_a_slow_reader_has_not_taken_is_given_all_at_once() -> None:
    def events() -> Generator[Event]:
        for _ in range(1_000):
            yield Delta("x")

    async with aclosing(AnswerThreads().follow(events())) as batches:
        first = await anext(batches)
        await asyncio.sleep(0.2)
        rest = [len(batch) async for batch in batches]
    assert len(first) + sum(rest) == 1_000
    assert len(rest) <= 2


def test_a_stop_is_known_where_it_is_watched() -> None:
    stop = Stop()
    assert not is_stopped()
    with stop.watching():
        assert not is_stopped()
        stop.set()
        assert is_stopped()
    assert not is_stopped()
