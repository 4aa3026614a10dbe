"""What is seen of an answer that has ended is kept by then."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.conversation import Draft, Exchange, Question, end
from app.history import History
from app.live import Job, Live
from data_tools.errors import StorageError


class Watched(History):
    """Notes, whenever an exchange is kept, whether those who look on see it running."""

    live: Live
    full = False

    def __init__(self, file: Path) -> None:
        super().__init__(file, scope="index")
        self.seen_running: list[bool] = []

    def save(self, exchange: Exchange) -> None:
        self.seen_running.append(self.live.get(exchange.id).running)
        if self.full:
            raise StorageError("the disk is full; free some space")
        super().save(exchange)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Watched]:
    with closing(Watched(tmp_path / "conversations.sqlite")) as history:
        history.live = Live("ada", "conversation", (), history)
        yield history


def begin(live: Live) -> tuple[Job, Exchange]:
    """Ask a question."""
    exchange = Exchange("Who takes?", id="first", drafts=(Draft("model", "It takes"),))
    job = Job(exchange.id, Question(exchange.typed), ("model",))
    live.add(job, exchange)
    return job, exchange


def test_an_answer_is_seen_to_have_ended_only_once_that_is_kept(history: Watched) -> None:
    live = history.live
    job, exchange = begin(live)
    live.save(job, end(exchange, stopped=True))
    assert history.seen_running == [True]
    assert not live.get("first").running
    assert live.state.conversation == history.load("ada", "conversation")


def test_a_stop_is_seen_only_once_it_is_kept(history: Watched) -> None:
    begin(history.live)
    history.live.end("first", stopped=True)
    assert history.seen_running == [True]
    assert history.live.state.conversation == history.load("ada", "conversation")


def test_what_cannot_be_kept_is_seen_and_says_so(history: Watched) -> None:
    job, exchange = begin(history.live)
    history.full = True
    history.live.save(job, end(exchange, stopped=True))
    seen = history.live.get("first")
    assert not seen.running and seen.unsaved == "the disk is full; free some space"
    assert not history.live.is_stored
