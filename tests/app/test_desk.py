"""Questions are answered in the background: nobody has to wait for them, and nothing is lost.

Long because all its tests share one desk, one model's stub and the steps that follow an answer.
"""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from app.conversation import Conversation, Exchange
from app.desk import (
    ANSWERS_AT_ONCE,
    NO_INDEX,
    SHUT_DOWN,
    WAITS_FOR_ANSWER,
    WAITS_FOR_TURN,
    Desk,
    Question,
)
from app.history import INTERRUPTED, History
from app.metrics import Metrics
from app.models import Models, open_models
from app.workspace import Workspace
from tests.fakes import FakeEncoder
from tests.stub_openai import Message, StubOpenAI

ROOT = Path(__file__).parents[2]
ASKED = "How does take of the TokenBucket work?"
QUOTE = Question(ASKED)
MODEL = Question(ASKED, models=("stub-model",))
COMPARE = Question(ASKED, models=("stub-model", "tuned-model"))
REPLY = "It takes its tokens. " * 16
HALF = REPLY[: len(REPLY) // 2]  # what the stub sends before it stalls: whole words
WAIT_S = 30.0  # for what takes milliseconds on a machine that is not busy


@pytest.fixture
def stub() -> Iterator[StubOpenAI]:
    with StubOpenAI(REPLY, models=("stub-model", "tuned-model")) as stub:
        yield stub


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "conversations.sqlite"


@pytest.fixture
def history(file: Path) -> Iterator[History]:
    with closing(History(file, scope="index")) as history:
        yield history


@pytest.fixture
def workspace(index_folder: Path) -> Workspace:
    return Workspace(index_folder, embedder=FakeEncoder())


@pytest.fixture
def desk(workspace: Workspace, stub: StubOpenAI, history: History) -> Iterator[Desk]:
    with closing(Desk(workspace, open_models([stub.url]), history)) as desk:
        yield desk


def wait_until(is_so: Callable[[], object]) -> None:
    """Wait until something is so."""
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.01)


def follow(desk: Desk, conversation_id: str, owner: str = "ada") -> list[Conversation]:
    """Follow a conversation to its end; return all its states."""

    async def collect() -> list[Conversation]:
        return [state async for state in desk.follow(owner, conversation_id)]

    return asyncio.run(asyncio.wait_for(collect(), WAIT_S))


def text(exchange: Exchange) -> str:
    return exchange.drafts[0].text


def begin_answer(desk: Desk, question: Question = MODEL) -> tuple[str, str]:
    """Ask, and wait for the first words."""
    ids = desk.ask("ada", question)
    wait_until(lambda: text(desk.snapshot("ada", ids[0])[-1]))
    return ids


def test_a_question_is_kept_before_it_is_answered(
    desk: Desk, history: History, stub: StubOpenAI
) -> None:
    stub.fault = "hang"
    conversation_id, exchange_id = desk.ask("ada", MODEL)
    (stored,) = history.load("ada", conversation_id)
    assert (stored.id, stored.typed, stored.asked) == (exchange_id, ASKED, MODEL)
    assert history.list("ada")[0].name == ASKED


def test_an_answer_is_followed_as_it_grows_and_is_kept(desk: Desk, history: History) -> None:
    conversation_id, _ = desk.ask("ada", MODEL)
    states = [state[0] for state in follow(desk, conversation_id)]
    assert states[0].evidence is None
    assert states[-1].drafts[0].answer
    lengths = [len(text(state)) for state in states]
    assert lengths == sorted(lengths)
    (stored,) = history.load("ada", conversation_id)
    assert stored == states[-1] == desk.snapshot("ada", conversation_id)[0]
    assert text(stored) == REPLY


def test_text_is_shown_no_more_often_than_asked_for(desk: Desk, stub: StubOpenAI) -> None:
    stub.delay_s = 0.002

    async def count_states(conversation_id: str) -> int:
        states = desk.follow("ada", conversation_id, step_s=60)
        return len([state async for state in states])

    conversation_id, _ = desk.ask("ada", MODEL)
    assert asyncio.run(count_states(conversation_id)) <= 5


def test_closing_the_page_stops_nothing(desk: Desk, stub: StubOpenAI) -> None:
    stub.delay_s = 0.01

    async def look_once(conversation_id: str) -> None:
        states = desk.follow("ada", conversation_id)
        await anext(states)
        await states.aclose()

    conversation_id, _ = desk.ask("ada", MODEL)
    asyncio.run(look_once(conversation_id))
    assert text(follow(desk, conversation_id)[-1][0]) == REPLY


def test_two_tabs_see_the_same(desk: Desk, stub: StubOpenAI) -> None:
    stub.delay_s = 0.005

    async def watch(conversation_id: str) -> Conversation:
        return [state async for state in desk.follow("ada", conversation_id)][-1]

    async def watch_twice(conversation_id: str) -> tuple[Conversation, Conversation]:
        return await asyncio.gather(watch(conversation_id), watch(conversation_id))

    conversation_id, _ = desk.ask("ada", MODEL)
    one, two = asyncio.run(watch_twice(conversation_id))
    assert one == two and text(one[0]) == REPLY


def test_a_second_question_waits_for_the_first_and_is_told_its_answer(
    desk: Desk, stub: StubOpenAI
) -> None:
    stub.delay_s = 0.005
    conversation_id, _ = begin_answer(desk)
    desk.ask("ada", Question("And how does it refill?", models=("stub-model",)), conversation_id)
    assert desk.snapshot("ada", conversation_id)[1].waiting == WAITS_FOR_ANSWER
    first, second = follow(desk, conversation_id)[-1]
    assert second.waiting is None and second.drafts[0].answer
    assert [(turn.question, turn.answer) for turn in second.history] == [(ASKED, REPLY.strip())]
    assert stub.chats[-1].messages[2]["content"] == REPLY.strip()


def test_nobody_reaches_the_conversations_of_others(desk: Desk, stub: StubOpenAI) -> None:
    stub.fault = "stall"
    conversation_id, exchange_id = begin_answer(desk)
    for reach in (
        lambda: desk.snapshot("bob", conversation_id),
        lambda: desk.ask("bob", QUOTE, conversation_id),
        lambda: desk.stop("bob", exchange_id),
        lambda: desk.retry("bob", exchange_id),
        lambda: follow(desk, conversation_id, "bob"),
    ):
        with pytest.raises(KeyError):
            reach()
    with pytest.raises(KeyError):
        desk.ask("ada", QUOTE, conversation_id, instead_of="no such exchange")
    assert desk.snapshot("ada", conversation_id)[0].running


@pytest.mark.parametrize("fault", ["stall", "hang"])
def test_stopping_shows_at_once_and_closes_the_models_connection(
    desk: Desk, stub: StubOpenAI, history: History, fault: str
) -> None:
    stub.fault = fault  # type: ignore[assignment]
    conversation_id, exchange_id = desk.ask("ada", MODEL)
    wait_until(lambda: stub.chats)
    if fault == "stall":
        wait_until(lambda: text(desk.snapshot("ada", conversation_id)[0]) == HALF)
    desk.stop("ada", exchange_id)
    (stopped,) = desk.snapshot("ada", conversation_id)
    assert stopped.drafts[0].stopped and not stopped.drafts[0].problem
    assert text(stopped) == (HALF if fault == "stall" else "")
    assert history.load("ada", conversation_id) == (stopped,)
    assert stub.chats[0].done.wait(WAIT_S) and stub.chats[0].closed_early
    stub.fault = None
    desk.ask("ada", MODEL, conversation_id)
    assert text(follow(desk, conversation_id)[-1][1]) == REPLY
    desk.stop("ada", exchange_id)  # nothing happens to one that has ended


@pytest.mark.parametrize("question", [MODEL, COMPARE])
def test_what_is_stopped_counts_as_that_and_all_its_connections_are_closed(
    workspace: Workspace, stub: StubOpenAI, history: History, question: Question
) -> None:
    stub.fault = "stall"
    metrics = Metrics()
    with closing(Desk(workspace, open_models([stub.url]), history, metrics=metrics)) as desk:
        conversation_id, exchange_id = desk.ask("ada", question)
        wait_until(lambda: all(d.text for d in desk.snapshot("ada", conversation_id)[0].drafts))
        desk.stop("ada", exchange_id)
        assert all(request.done.wait(WAIT_S) and request.closed_early for request in stub.chats)
        count = partial(metrics.registry.get_sample_value, "codeqa_answers_total")
        labels = {"strategy": "direct"}
        wait_until(lambda: count({"outcome": "stopped", **labels}) == len(question.models))
        assert not count({"outcome": "failed", **labels})


def test_a_failure_is_said_and_a_retry_takes_its_place(desk: Desk, stub: StubOpenAI) -> None:
    stub.fault = "drop"
    conversation_id, exchange_id = desk.ask("ada", MODEL)
    (failed,) = follow(desk, conversation_id)[-1]
    assert text(failed) and failed.drafts[0].problem
    stub.fault = None
    same_id, new_id = desk.retry("ada", exchange_id)
    (answered,) = follow(desk, conversation_id)[-1]
    assert same_id == conversation_id and answered.id == new_id != exchange_id
    assert answered.asked == MODEL and text(answered) == REPLY


def test_a_question_may_take_the_place_of_one_that_is_being_answered(
    desk: Desk, stub: StubOpenAI
) -> None:
    stub.fault = "stall"
    conversation_id, exchange_id = begin_answer(desk)
    desk.ask("ada", QUOTE, conversation_id)
    desk.ask("ada", Question("What does refill do?"), conversation_id, instead_of=exchange_id)
    (only,) = follow(desk, conversation_id)[-1]
    assert only.typed == "What does refill do?" and only.drafts[0].answer
    assert stub.chats[0].done.wait(WAIT_S) and stub.chats[0].closed_early


def test_a_blind_comparison_draws_the_sides_by_chance(desk: Desk) -> None:
    blind = Question(ASKED, models=("stub-model", "tuned-model"), blind=True)
    lefts = set()
    for _ in range(20):
        conversation_id, _ = desk.ask("ada", blind)
        (exchange,) = desk.snapshot("ada", conversation_id)
        assert exchange.blind and {draft.model for draft in exchange.drafts} == set(blind.models)
        lefts.add(exchange.drafts[0].model)
    assert len(lefts) == 2  # by mistake once in half a million runs
    (exchange,) = follow(desk, conversation_id)[-1]
    for draft in exchange.drafts:
        assert draft.answer and draft.answer.model == draft.model


def test_what_cannot_be_asked_is_said_in_the_conversation(
    desk: Desk, history: History, tmp_path: Path
) -> None:
    problems = []
    for question in (Question("x" * 30_000), Question(""), Question(ASKED, models=("nobody",))):
        conversation_id, _ = desk.ask("ada", question)
        problems.append(follow(desk, conversation_id)[-1][0].drafts[0].problem or "")
    assert ["shorten" in problems[0], "empty" in problems[1], "nobody" in problems[2]] == [True] * 3
    with closing(Desk(Workspace(tmp_path / "empty"), Models({}), history)) as desk:
        conversation_id, _ = desk.ask("ada", QUOTE)
        assert follow(desk, conversation_id)[-1][0].drafts[0].problem == NO_INDEX


def test_a_rating_shows_while_another_answer_runs(
    desk: Desk, stub: StubOpenAI, history: History
) -> None:
    conversation_id, exchange_id = desk.ask("ada", QUOTE)
    follow(desk, conversation_id)
    stub.fault = "stall"
    desk.ask("ada", MODEL, conversation_id)
    history.rate("ada", exchange_id, "up", "clear")
    first, second = desk.snapshot("ada", conversation_id)
    assert (first.thumb, first.reason, second.running) == ("up", "clear", True)


def test_deleting_a_conversation_stops_its_answer(
    desk: Desk, stub: StubOpenAI, history: History
) -> None:
    stub.fault = "stall"
    conversation_id, _ = begin_answer(desk)
    history.delete("ada", conversation_id)
    assert stub.chats[0].done.wait(WAIT_S) and stub.chats[0].closed_early
    with pytest.raises(KeyError):
        desk.snapshot("ada", conversation_id)
    assert history.list("ada") == []


def test_a_full_disk_is_said_once_and_the_answer_goes_on(
    desk: Desk, history: History, stub: StubOpenAI
) -> None:
    pages = history._connection.execute("PRAGMA page_count").fetchone()[0]
    history._connection.execute(f"PRAGMA max_page_count = {pages}")
    question = Question("x" * 100 + ASKED * 400, models=("stub-model",))  # more than a page
    conversation_id, _ = desk.ask("ada", question)
    (exchange,) = follow(desk, conversation_id)[-1]
    assert text(exchange) == REPLY and not exchange.drafts[0].problem
    assert exchange.unsaved and "the disk is full" in exchange.unsaved
    assert desk.snapshot("ada", conversation_id) == (exchange,)
    history._connection.execute("PRAGMA max_page_count = 1000000")
    desk.ask("ada", MODEL, conversation_id)
    assert follow(desk, conversation_id)[-1][1].unsaved is None


def test_a_file_taken_away_is_said_and_the_answer_goes_on(desk: Desk, file: Path) -> None:
    for path in file.parent.glob("conversations.sqlite*"):
        path.unlink()
    conversation_id, _ = desk.ask("ada", MODEL)
    (exchange,) = follow(desk, conversation_id)[-1]
    assert text(exchange) == REPLY
    assert exchange.unsaved and "was taken away" in exchange.unsaved


def test_more_answers_than_threads_wait_their_turn(desk: Desk, stub: StubOpenAI) -> None:
    let_go = threading.Event()

    def reply(_: list[Message]) -> str:
        assert let_go.wait(60)
        return REPLY

    stub.reply = reply
    asked = [desk.ask("ada", MODEL)[0] for _ in range(ANSWERS_AT_ONCE + 2)]
    last = desk.snapshot("ada", asked[-1])[0]
    assert last.waiting == WAITS_FOR_TURN
    let_go.set()
    for conversation_id in asked:
        (exchange,) = follow(desk, conversation_id)[-1]
        assert text(exchange) == REPLY and exchange.waiting is None


def test_closing_the_desk_says_so_in_what_was_running(
    workspace: Workspace, stub: StubOpenAI, history: History
) -> None:
    stub.fault = "stall"
    desk = Desk(workspace, open_models([stub.url]), history)
    conversation_id, _ = begin_answer(desk)
    desk.ask("ada", QUOTE, conversation_id)
    desk.close()
    first, second = history.load("ada", conversation_id)
    assert (first.drafts[0].problem, second.drafts[0].problem) == (SHUT_DOWN, SHUT_DOWN)
    assert text(first)
    assert stub.chats[0].done.wait(WAIT_S)


# What `codeqa chat` does, in a process of its own that is killed in the middle of an answer.
SERVER = """
import sys, time
from pathlib import Path
from app.desk import Desk, Question
from app.history import History
from app.models import open_models
from app.workspace import Workspace
from tests.fakes import FakeEncoder
file, index, url, asked = sys.argv[1:]
history = History(Path(file), scope="index")
desk = Desk(Workspace(Path(index), embedder=FakeEncoder()), open_models([url]), history)
print(desk.ask("ada", Question(asked, models=("stub-model",)))[0], flush=True)
time.sleep(600)
"""


def test_another_server_shows_an_answer_and_takes_over_when_the_first_is_killed(
    desk: Desk, stub: StubOpenAI, history: History, file: Path, index_folder: Path
) -> None:
    stub.fault = "stall"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(file), str(index_folder), stub.url, ASKED],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout
        conversation_id = server.stdout.readline().strip()
        wait_until(lambda: text(desk.snapshot("ada", conversation_id)[0]) == HALF)
        desk.ask("ada", QUOTE, conversation_id)  # waits for the answer of the other server
        time.sleep(0.1)
        history.beat()
        first, second = desk.snapshot("ada", conversation_id)
        assert first.running and second.running
    finally:
        os.kill(server.pid, signal.SIGKILL)
        server.communicate()
    history.beat()  # as a server does when it starts, and every few seconds
    first, second = follow(desk, conversation_id)[-1]
    assert (text(first), first.drafts[0].problem) == (HALF, INTERRUPTED)
    assert first.evidence and second.drafts[0].answer
    assert second.history[0].answer == HALF.strip()
