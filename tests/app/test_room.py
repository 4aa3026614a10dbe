"""Who finds no room is told when there will be some."""

import threading
import time

import pytest

from app.room import LONGEST_S, SHORTEST_S, Room
from data_tools.errors import BusyError


def test_there_is_room_for_so_many_and_again_when_one_has_left() -> None:
    room = Room(2, "people are inside")
    with room.stay():
        with room.stay():
            assert room.inside == 2
            with pytest.raises(BusyError, match=r"2 people are inside, .* ask again in \d+ s"):
                room.check()
        room.check()
    assert room.inside == 0


def test_whoever_leaves_by_an_error_leaves() -> None:
    room = Room(1, "people are inside")
    with pytest.raises(KeyError), room.stay():
        raise KeyError
    room.check()


@pytest.mark.parametrize(("usual_s", "said_s"), [(0.1, SHORTEST_S), (40, 10), (9_000, LONGEST_S)])
def test_the_wait_is_that_until_a_quarter_has_left(usual_s: float, said_s: int) -> None:
    room = Room(0, "people are inside", usual_s=usual_s)
    with pytest.raises(BusyError) as busy:
        room.check()
    assert busy.value.retry_after_s == said_s
    assert f"in {said_s} s" in str(busy.value)


def test_the_usual_time_is_learnt() -> None:
    room = Room(0, "people are inside", usual_s=400)
    for _ in range(100):
        room.leave(room.enter())
    with pytest.raises(BusyError) as busy:
        room.check()
    assert busy.value.retry_after_s == SHORTEST_S


def test_it_counts_rightly_when_many_threads_come_and_go() -> None:
    room = Room(10**6, "people are inside")

    def come_and_go() -> None:
        for _ in range(2_000):
            room.leave(room.enter())

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    entered_s = room.enter()
    for thread in threads:
        thread.join()
    assert room.inside == 1
    assert entered_s <= time.monotonic()
