"""How often the streams of language models are read: many at once cost little more than one.

A server sends its tokens one by one, and to wake a thread for each costs more than to read it. So
where many answers are written at the same time, a thread that has read all there is lets some
more come before it reads on. The first piece of an answer is never waited for, and nothing is
left out: what has come stays in the connection until it is read.
"""

import threading
import time
from collections.abc import Generator, Iterator
from typing import TypeVar

from app.stopping import wait_for_stop

READS_PER_S = 200  # of all streams together
LONGEST_S = 0.4  # between two reads of one stream, however many there are
WAITED_S = 0.002  # a piece that took longer was not there yet: all that had come is read

Piece = TypeVar("Piece")

_lock = threading.Lock()
_streams = 0


def read_in_turns(pieces: Iterator[Piece]) -> Generator[Piece]:
    """Pass pieces of a stream on; closing this leaves `pieces` open.

    Nothing waits before the second piece, or after the stop of the answer that they are for.
    """
    global _streams
    with _lock:
        _streams += 1
    try:
        asked_s = time.monotonic()
        for number, piece in enumerate(pieces):
            waited_s = time.monotonic() - asked_s
            yield piece
            if number and waited_s > WAITED_S:
                wait_for_stop(min(_streams / READS_PER_S, LONGEST_S))
            asked_s = time.monotonic()
    finally:
        with _lock:
            _streams -= 1
