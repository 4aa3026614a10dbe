"""Streams of many answers are read less often each, without loss and without a late start."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager

from app.reading_pace import LONGEST_S, read_in_turns
from app.stopping import Stop

TOKEN_S = 0.02


def slow_stream(count: int) -> Generator[int]:
    for number in range(count):
        time.sleep(TOKEN_S)
        yield number


class Server:
    """Sends a token each 20 ms, whether somebody reads or not; counts the reads that waited."""

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.waits = 0

    def tokens(self, count: int) -> Generator[int]:
        for number in range(count):
            early_s = self.began_s + number * TOKEN_S - time.monotonic()
            if early_s > 0:
                self.waits += 1
                time.sleep(early_s)
            yield number


@contextmanager
def others_reading(count: int) -> Iterator[None]:
    streams = [read_in_turns(iter(range(2))) for _ in range(count)]
    for stream in streams:
        next(stream)
    yield
    for stream in streams:
        stream.close()


def test_everything_comes_in_its_order() -> None:
    assert list(read_in_turns(slow_stream(10))) == list(range(10))


def test_among_many_streams_one_is_read_less_often_and_nothing_is_lost() -> None:
    alone, among_many = Server(), Server()
    assert list(read_in_turns(alone.tokens(40))) == list(range(40))
    among_many.began_s = time.monotonic()
    with others_reading(49):
        assert list(read_in_turns(among_many.tokens(40))) == list(range(40))
    assert among_many.waits < alone.waits / 3


def test_the_first_piece_is_passed_on_at_once_and_the_second_is_asked_for_at_once() -> None:
    with others_reading(200), closing(read_in_turns(slow_stream(3))) as pieces:
        began_s = time.monotonic()
        next(pieces)
        next(pieces)
        assert time.monotonic() - began_s < LONGEST_S


def test_a_stop_ends_the_wait() -> None:
    stop = Stop()
    threading.Timer(0.05, stop.set).start()
    with others_reading(200), stop.watching(), closing(read_in_turns(slow_stream(4))) as pieces:
        next(pieces)
        next(pieces)
        began_s = time.monotonic()
        next(pieces)  # what would be waited for before it is LONGEST_S
        assert time.monotonic() - began_s < LONGEST_S / 2
