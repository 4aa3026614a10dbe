"""Several streams as one: fair, whole, and stopped together."""

import threading
import time
from collections.abc import Generator

import pytest

from app.interleave import interleave


def count(number: int, *, delay_s: float = 0.0, closed: list[int] | None = None) -> Generator[int]:
    try:
        for each in range(number):
            time.sleep(delay_s)
            yield each
    finally:
        if closed is not None:
            closed.append(number)


def test_everything_of_every_stream_comes_in_its_order() -> None:
    items = list(interleave([count(100), count(0), count(50)]))
    assert [item for number, item in items if number == 0] == list(range(100))
    assert [item for number, item in items if number == 2] == list(range(50))
    assert len(items) == 150


def test_no_streams_are_no_items() -> None:
    assert list(interleave([])) == []


def test_a_stream_that_is_far_ahead_waits_for_its_turn() -> None:
    ahead = threading.Event()

    def fast() -> Generator[str]:
        yield from ["fast"] * 100
        ahead.set()

    def slow() -> Generator[str]:
        ahead.wait(5)
        yield from ["slow"] * 3

    items = interleave([fast(), slow()])
    assert next(items) == (0, "fast")
    ahead.wait(5)
    time.sleep(0.05)
    assert [item for _, item in (next(items) for _ in range(6))].count("slow") == 3


def test_streams_run_at_the_same_time() -> None:
    together = threading.Barrier(5)

    def meet() -> Generator[int]:
        yield together.wait(5)

    assert len(list(interleave([meet() for _ in range(5)]))) == 5


def test_closing_stops_all_streams() -> None:
    closed: list[int] = []
    items = interleave([count(n, delay_s=0.01, closed=closed) for n in (1_000, 2_000)])
    next(items)
    items.close()
    deadline = time.monotonic() + 5
    while len(closed) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(closed) == [1_000, 2_000]


def test_an_error_comes_after_what_its_stream_gave_and_stops_the_others() -> None:
    closed: list[int] = []

    def fail() -> Generator[int]:
        yield 7
        raise KeyError("lost")

    items = interleave([fail(), count(1_000, delay_s=0.01, closed=closed)])
    seen = []
    with pytest.raises(KeyError, match="lost"):
        for item in items:
            seen.append(item)
    assert (0, 7) in seen
    deadline = time.monotonic() + 5
    while not closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert closed == [1_000]
