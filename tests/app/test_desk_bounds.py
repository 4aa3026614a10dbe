"""The desk holds no more than it says, and tells the others when to come back."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from app.conversation import Exchange, end
from app.desk import (
    ANSWERS_AT_ONCE,
    MAX_EXCHANGES,
    MAX_FOLLOWERS,
    MAX_UNSAVED,
    MAX_WAITING,
    MAX_WAITING_HERE,
    Desk,
    Question,
)
from app.history import History
from app.models import open_models
from app.workspace import Workspace
from data_tools.errors import BusyError, QuestionError
from tests.fakes import FakeEncoder
from tests.stub_openai import Message, StubOpenAI

ASKED = "How does take of the TokenBucket work?"
QUOTE = Question(ASKED)
MODEL = Question(ASKED, models=("stub-model",))
WAIT_S = 30.0


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def stub(let_go: threading.Event) -> Iterator[StubOpenAI]:
    """A model that says nothing until it is let go."""

    def reply(_: list[Message]) -> str:
        assert let_go.wait(60)
        return "It takes tokens."

    with StubOpenAI(reply) as stub:
        yield stub


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with closing(History(tmp_path / "conversations.sqlite", scope="index")) as history:
        yield history


@pytest.fixture
def desk(index_folder: Path, stub: StubOpenAI, history: History) -> Iterator[Desk]:
    workspace = Workspace(index_folder, embedder=FakeEncoder())
    with closing(Desk(workspace, open_models([stub.url]), history)) as desk:
        yield desk


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.01)


def is_answered(desk: Desk, conversation_id: str) -> bool:
    return not any(exchange.running for exchange in desk.snapshot("ada", conversation_id))


def test_past_the_end_of_the_line_a_question_is_refused_and_not_kept(
    desk: Desk, history: History, let_go: threading.Event
) -> None:
    most = ANSWERS_AT_ONCE + MAX_WAITING
    asked = [desk.ask("ada", MODEL)[0] for _ in range(most)]
    with pytest.raises(BusyError, match=rf"{most} questions .* ask again in \d+ s") as busy:
        desk.ask("bob", MODEL)
    assert busy.value.retry_after_s >= 1
    assert history.list("bob") == [] and len(history.list("ada")) == most
    let_go.set()
    wait_until(lambda: all(is_answered(desk, conversation_id) for conversation_id in asked))
    conversation_id, _ = desk.ask("bob", QUOTE)
    assert desk.snapshot("bob", conversation_id)


def test_what_was_stopped_in_the_line_keeps_its_place_until_a_thread_has_seen_it(
    desk: Desk, let_go: threading.Event
) -> None:
    for _ in range(ANSWERS_AT_ONCE):
        desk.ask("ada", MODEL)
    for _ in range(MAX_WAITING):
        desk.stop("ada", desk.ask("ada", MODEL)[1])
    with pytest.raises(BusyError):  # else stopping would let the threads' queue grow without end
        desk.ask("ada", MODEL)
    let_go.set()
    wait_until(lambda: desk._answering.inside == 0)
    desk.ask("ada", QUOTE)


def test_only_some_questions_wait_in_one_conversation(desk: Desk, let_go: threading.Event) -> None:
    conversation_id, first = desk.ask("ada", MODEL)
    for _ in range(MAX_WAITING_HERE):
        desk.ask("ada", QUOTE, conversation_id)
    with pytest.raises(BusyError, match="ask again in 5 s"):
        desk.ask("ada", QUOTE, conversation_id)
    assert len(desk.snapshot("ada", conversation_id)) == 1 + MAX_WAITING_HERE
    desk.ask("ada", QUOTE, conversation_id, instead_of=first)  # of them, none waits any more
    wait_until(lambda: is_answered(desk, conversation_id))
    assert len(desk.snapshot("ada", conversation_id)) == 1


def test_a_conversation_has_an_end_and_says_so(desk: Desk, history: History) -> None:
    for number in range(MAX_EXCHANGES):
        history.begin("ada", "long", end(Exchange(ASKED, id=f"e{number}"), stopped=True))
    with pytest.raises(QuestionError, match="begin another"):
        desk.ask("ada", QUOTE, "long")
    desk.ask("ada", QUOTE, "long", instead_of=f"e{MAX_EXCHANGES - 1}")
    wait_until(lambda: is_answered(desk, "long"))
    assert len(history.load("ada", "long")) == MAX_EXCHANGES


def test_what_no_disk_takes_is_held_in_memory_up_to_a_bound(
    desk: Desk, history: History, let_go: threading.Event
) -> None:
    for path in history.file.parent.glob("conversations.sqlite*"):
        path.unlink()  # from now on nothing can be kept
    for _ in range(ANSWERS_AT_ONCE + MAX_WAITING + MAX_UNSAVED):
        conversation_id, _ = desk.ask("ada", QUOTE)
        wait_until(partial(is_answered, desk, conversation_id))
    assert "was taken away" in (desk.snapshot("ada", conversation_id)[0].unsaved or "")
    with pytest.raises(BusyError, match="kept in memory alone: make room where .*sqlite"):
        desk.ask("ada", QUOTE)
    desk.ask("ada", QUOTE, conversation_id)  # one that is there already goes on
    wait_until(lambda: is_answered(desk, conversation_id))


def test_only_so_many_follow_and_those_who_leave_make_room(
    desk: Desk, let_go: threading.Event
) -> None:
    conversation_id, _ = desk.ask("ada", MODEL)

    async def follow_too_many() -> None:
        followers = [desk.follow("ada", conversation_id) for _ in range(MAX_FOLLOWERS)]
        for follower in followers:
            assert (await anext(follower))[0].running
        with pytest.raises(BusyError, match=f"{MAX_FOLLOWERS} answers are being followed"):
            await anext(desk.follow("ada", conversation_id))
        with pytest.raises(BusyError):
            desk.followers.check()
        await followers.pop().aclose()
        desk.followers.check()
        began_s, used_s = time.monotonic(), time.process_time()
        waiting = [asyncio.ensure_future(anext(follower)) for follower in followers]
        await asyncio.sleep(2.0)
        share = (time.process_time() - used_s) / (time.monotonic() - began_s)
        assert share < 0.5, "those who wait take the processor"
        let_go.set()
        await asyncio.wait_for(asyncio.gather(*waiting), WAIT_S)
        for follower in followers:
            await follower.aclose()

    asyncio.run(follow_too_many())
    assert desk.followers.inside == 0
