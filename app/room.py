"""How many may do a thing at once; whoever finds no room is told when to come back.

What is asked beyond what can be done must wait somewhere. A short line is good for people, an
endless one holds memory and answers those who have long gone away: so past its end everybody is
refused at once, and clients know when to try again.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from data_tools.errors import BusyError

SHORTEST_S, LONGEST_S = 1, 60  # what anybody is told to wait
SHARE = 4  # a part of the places, which have come free by then
MEMORY = 0.9  # how much the usual time keeps of what it was, at each that leaves


class Room:
    """Counts those inside; any number of threads may use it."""

    def __init__(self, places: int, what: str, *, usual_s: float = 5.0) -> None:
        """Open it, with nobody inside.

        :param what: who is inside, such as `questions are being answered`.
        :param usual_s: how long one stays, until that is known.
        """
        self._places = places
        self._what = what
        self._usual_s = usual_s
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """How many are inside."""
        return self._inside

    def check(self) -> None:
        """Do nothing if there is room for another.

        :raises BusyError: there is none. By the time that it names, a quarter of those inside have
            left, if they stay as long as others did (Little's law).
        """
        if self._inside >= self._places:
            seconds = math.ceil(min(max(self._usual_s / SHARE, SHORTEST_S), LONGEST_S))
            raise BusyError(
                f"{self._inside} {self._what}, as many as can be: ask again in {seconds} s",
                retry_after_s=seconds,
            )

    def enter(self) -> float:
        """Count one more, room or not; return what `leave` is to be told."""
        with self._lock:
            self._inside += 1
        return time.monotonic()

    def leave(self, entered_s: float) -> None:
        """Count one less.

        :param entered_s: what `enter` returned.
        """
        stayed_s = time.monotonic() - entered_s
        with self._lock:
            self._inside -= 1
            self._usual_s = MEMORY * self._usual_s + (1 - MEMORY) * stayed_s

    @contextmanager
    def stay(self) -> Iterator[None]:
        """Be inside for a while.

        :raises BusyError: as `check` does.
        """
        self.check()
        entered_s = self.enter()
        try:
            yield
        finally:
            self.leave(entered_s)
