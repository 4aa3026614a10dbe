"""Where questions are answered: in threads of the server's, not in a browser's connection.

Whoever asked may close the page, reload it, or open a second one: the answer goes on, is kept as
it grows, and is the same for all who follow it. Questions of one conversation are answered one
after the other, because each is understood from the answers before it. What goes wrong is said in
the conversation and is never raised to whoever looks at it.

What is held in memory has bounds: of questions and of those who follow, who are told when to come
back; of questions in one conversation, after which another is to be begun.
"""

import asyncio
import random
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app import conversation as conversations
from app.answer import Event, answer
from app.answer_log import logged
from app.compare import compare
from app.conversation import Conversation, Draft, Exchange, Question, list_turns
from app.history import History
from app.live import Job, Live, State, copy_rating, is_running, only_adds_text
from app.logs import current_request, working_on
from app.models import Models
from app.room import Room
from app.saver import Saver
from app.stopping import Stop
from app.workspace import Workspace
from data_tools.errors import (
    BusyError,
    CodeQAError,
    IndexMissingError,
    LanguageModelError,
    QuestionError,
)
from data_tools.secrets import redact
from retrieval.prompt import MAX_HISTORY_TURNS, Turn

if TYPE_CHECKING:
    from app.metrics import Metrics

__all__ = ["Desk", "Question"]

ANSWERS_AT_ONCE = 64
MAX_WAITING = ANSWERS_AT_ONCE  # for no longer than an answer takes, then
MAX_WAITING_HERE = 4  # in one conversation, for the answer before
MAX_EXCHANGES = 300  # of one conversation, all of which is read and shown whole
MAX_UNSAVED = 64  # conversations that are only in memory, because the disk does not take them
UNSAVED_RETRY_S = 30
MAX_FOLLOWERS = 400
POLL_S = 0.02  # how often a follower looks for news
POLLS_PER_S = 5_000  # of all followers together
ELSEWHERE_POLL_S = 0.5  # the same, where another process answers and the file has the news
WAITS_FOR_ANSWER = "Waiting for the answer before this one."
WAITS_FOR_TURN = f"Waiting for its turn: {ANSWERS_AT_ONCE} answers are being written."
SHUT_DOWN = "The server was stopped while it answered this: try again to have the whole answer."
BROKEN_OFF = "Something went wrong. The server's log has the details; you can go on asking."
NO_INDEX = "There is nothing to ask about yet: wait until the files are read, or add a repository."


class Desk:
    """Takes questions and answers them in the background; any number of threads may use it.

    :ivar history: where conversations are listed, renamed, deleted and rated.
    :ivar followers: those who follow a conversation; it says whether there is room for another.
    """

    def __init__(
        self,
        workspace: Workspace,
        models: Models,
        history: History,
        *,
        metrics: "Metrics | None" = None,
    ) -> None:
        """Take up work; what a process that died left unfinished is ended.

        :param metrics: sees the events of every answer.
        """
        self.history = history
        self._workspace = workspace
        self._models = models
        self._metrics = metrics
        self._lives: dict[str, Live] = {}
        self._lock = threading.Lock()  # of the dictionary; a conversation's comes first
        self._answering = Room(
            ANSWERS_AT_ONCE + MAX_WAITING, "questions are being answered or wait for it"
        )
        self.followers = Room(MAX_FOLLOWERS, "answers are being followed")
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(ANSWERS_AT_ONCE, thread_name_prefix="answer")
        self._saver = Saver(history, self._list_lives)
        history.watch(self._refresh)

    def ask(
        self,
        owner: str,
        question: Question,
        conversation_id: str | None = None,
        *,
        instead_of: str | None = None,
    ) -> tuple[str, str]:
        """Take a question and return at once; it is kept by then.

        :param conversation_id: None begins one.
        :param instead_of: an exchange; that one and all after it are replaced.
        :return: the ids of the conversation and of the exchange.
        :raises KeyError: the owner has no such conversation, or it has no such exchange.
        :raises BusyError: too many questions wait already, here or in all.
        :raises QuestionError: the conversation is as long as one may be.
        """
        self._answering.check()
        question = replace(question, text=redact(question.text).text)
        models = list(question.models) or [None]
        if question.blind:
            random.SystemRandom().shuffle(models)
        exchange = Exchange(
            question.text.strip(),
            id=secrets.token_urlsafe(12),
            strategy=question.strategy,
            drafts=tuple(Draft(name) for name in models),
            blind=question.blind and len(models) > 1,
            asked=question,
            asked_at=time.time(),
        )
        job = Job(exchange.id, question, tuple(models), instead_of, request=current_request())
        while True:
            live = self._open(owner, conversation_id)
            with live.lock:
                if self._lives.get(live.id) is not live:
                    continue  # it has just been let go
                try:
                    _check_length(live, instead_of)
                    if live.jobs:
                        exchange = replace(exchange, waiting=WAITS_FOR_ANSWER)
                    live.add(job, exchange)
                finally:
                    self._go_on(live)
                return live.id, exchange.id

    def retry(self, owner: str, exchange_id: str) -> tuple[str, str]:
        """Ask a question again, in place of its exchange and all after it.

        :return: as of `ask`.
        :raises KeyError: the owner has no such exchange.
        """
        conversation_id = self._find(owner, exchange_id)
        for exchange in self.snapshot(owner, conversation_id):
            if exchange.id == exchange_id:
                question = exchange.asked or Question(exchange.typed, exchange.strategy)
                return self.ask(owner, question, conversation_id, instead_of=exchange_id)
        raise KeyError(exchange_id)

    def snapshot(self, owner: str, conversation_id: str) -> Conversation:
        """Return a conversation as it is now, with what there is of answers on their way.

        :raises KeyError: the owner has no such conversation.
        """
        live = self._lives.get(conversation_id)
        if live is not None and live.owner == owner:
            return live.state.conversation
        return self.history.load(owner, conversation_id)

    async def follow(
        self, owner: str, conversation_id: str, *, step_s: float = 0.05
    ) -> AsyncGenerator[Conversation]:
        """Yield a conversation now and whenever it changes, until nothing in it runs.

        Closing this stops no answer.

        :param step_s: while only text is added, it is yielded no more often than this.
        :raises KeyError: the owner has no such conversation.
        :raises BusyError: too many follow already.
        """
        with self.followers.stay():
            async with aclosing(self._follow(owner, conversation_id, step_s)) as states:
                async for state in states:
                    yield state

    async def _follow(
        self, owner: str, conversation_id: str, step_s: float
    ) -> AsyncGenerator[Conversation]:
        shown, shown_s = State((), version=-1, shape=-1), 0.0
        while (live := self._lives.get(conversation_id)) is not None and live.owner == owner:
            state = live.state
            due = state.shape != shown.shape or time.monotonic() - shown_s >= step_s
            if due and state is not shown:
                shown, shown_s = state, time.monotonic()
                yield state.conversation
            elif state is shown and not state.running:
                return
            else:
                await asyncio.sleep(max(POLL_S, self.followers.inside / POLLS_PER_S))
        conversation = shown.conversation
        while True:  # it has been let go of, or another process answers
            stored = await asyncio.to_thread(self.history.load, owner, conversation_id)
            if stored != conversation:
                conversation = stored
                yield conversation
            if not is_running(conversation):
                return
            await asyncio.sleep(ELSEWHERE_POLL_S)

    def stop(self, owner: str, exchange_id: str) -> None:
        """Stop an answer; what arrived is kept. Nothing happens to one that has ended.

        :raises KeyError: the owner has no such exchange.
        """
        live = self._lives.get(self._find(owner, exchange_id))
        if live is not None:
            with live.lock:
                live.end(exchange_id, stopped=True)
                self._go_on(live)

    def close(self) -> None:
        """Stop every answer and say so in it; the history stays open."""
        self._closed.set()
        for live in self._list_lives():
            with live.lock:
                for job in list(live.jobs):
                    live.end(job.exchange_id, problem=SHUT_DOWN)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._saver.close()

    def _list_lives(self) -> list[Live]:
        with self._lock:
            return list(self._lives.values())

    def _open(self, owner: str, conversation_id: str | None) -> Live:
        """Return the live conversation of that id, made live if it is not."""
        live = None if conversation_id is None else self._lives.get(conversation_id)
        if live is None:
            before = () if conversation_id is None else self.history.load(owner, conversation_id)
            identifier = conversation_id or secrets.token_urlsafe(12)
            live = Live(owner, identifier, before, self.history)
            with self._lock:
                self._check_memory()
                live = self._lives.setdefault(identifier, live)
        if live.owner != owner:
            raise KeyError(conversation_id)
        return live

    def _check_memory(self) -> None:
        """Refuse to hold another conversation where very many could not be stored."""
        if len(self._lives) >= ANSWERS_AT_ONCE + MAX_WAITING + MAX_UNSAVED:
            raise BusyError(
                f"{len(self._lives)} conversations are kept in memory alone: make room where "
                f"{self.history.file} lies, and ask again in {UNSAVED_RETRY_S} s",
                retry_after_s=UNSAVED_RETRY_S,
            )

    def _find(self, owner: str, exchange_id: str) -> str:
        """Return the id of the conversation of an exchange, which may not be stored."""
        for live in self._list_lives():
            if live.owner == owner:
                with suppress(KeyError):
                    live.get(exchange_id)
                    return live.id
        return self.history.find(owner, exchange_id)

    def _go_on(self, live: Live) -> None:
        """Begin with the next question; let go of a conversation that is stored. Needs its lock."""
        if not live.jobs:
            with self._lock:
                if live.is_stored and self._lives.get(live.id) is live:
                    del self._lives[live.id]
        elif not live.jobs[0].begun and not self._closed.is_set():
            job = live.jobs[0]
            job.begun = True
            entered_s = self._answering.enter()
            if self._answering.inside > ANSWERS_AT_ONCE:
                live.put(replace(live.get(job.exchange_id), waiting=WAITS_FOR_TURN))
            self._threads.submit(self._work, live, job, entered_s)

    def _work(self, live: Live, job: Job, entered_s: float) -> None:
        """Answer one question, in a thread of its own."""
        try:
            with job.stop.watching(), working_on(job.request):
                self._answer(live, job)
        finally:
            self._answering.leave(entered_s)
            with live.lock:
                live.end(job.exchange_id, problem=BROKEN_OFF)  # it has ended, unless by a bug
                self._go_on(live)

    def _answer(self, live: Live, job: Job) -> None:
        self._wait_for_elsewhere(live, job)
        with live.lock:
            if job.stop.is_set():
                return
            turns = list_turns(live.before(job.exchange_id))[-MAX_HISTORY_TURNS:]
            exchange = replace(live.get(job.exchange_id), waiting=None, history=tuple(turns))
            live.put(exchange)
        with closing(conversations.follow(exchange, self._events(job, turns))) as steps:
            for step in steps:
                with live.lock:
                    if job.stop.is_set():
                        return
                    now = live.get(job.exchange_id)
                    then = replace(copy_rating(now, step), unsaved=now.unsaved)
                    if only_adds_text(now, then):
                        live.put(then)
                    else:
                        live.save(job, then)

    def _wait_for_elsewhere(self, live: Live, job: Job) -> None:
        """Wait for answers to questions before this one that another process is giving."""
        while is_running(live.before(job.exchange_id)) and not job.stop.wait(ELSEWHERE_POLL_S):
            with live.lock, suppress(KeyError, CodeQAError):
                live.refresh()

    def _events(self, job: Job, turns: list[Turn]) -> Generator[Event]:
        """Ask one model, or several at the same time; what cannot be asked raises at first use."""
        index, question = self._workspace.index(), job.question
        if index is None:
            raise IndexMissingError(NO_INDEX)
        chats = [self._models.get(name) for name in job.models]
        options: dict[str, Any] = {
            "history": turns,
            "k": question.k,
            "repos": question.repos or None,
            "languages": question.languages or None,
            "path_glob": question.path_glob,
        }
        if len(chats) > 1:
            events = compare(index, question.text, chats, **options)
        else:
            chat, strategy = chats[0], question.strategy
            events = answer(index, question.text, chat=chat, strategy=strategy, **options)
        events = logged(_until(job.stop, events), question.text, strategy=question.strategy)
        if self._metrics is not None:
            events = self._metrics.observe(events, strategy=question.strategy)
        yield from events

    def _refresh(self, conversation_id: str) -> None:
        """Show what the history now says of a conversation that is also here."""
        live = self._lives.get(conversation_id)
        if live is None:
            return
        with live.lock:
            try:
                live.refresh()
            except KeyError:  # it was deleted
                for job in list(live.jobs):
                    live.end(job.exchange_id, stopped=True)
                self._go_on(live)


def _check_length(live: Live, instead_of: str | None) -> None:
    """Refuse another question where very many are, or wait for each other.

    :raises QuestionError: there are.
    :raises BusyError: they do.
    """
    if instead_of is not None:
        return
    if len(live.state.conversation) >= MAX_EXCHANGES:
        raise QuestionError(
            f"this conversation has {MAX_EXCHANGES} questions, as many as one can have: begin "
            "another"
        )
    if len(live.jobs) > MAX_WAITING_HERE:
        raise BusyError(f"{MAX_WAITING_HERE} questions wait here: ask again in 5 s")


def _until(stop: Stop, events: Generator[Event]) -> Generator[Event]:
    """Pass events on until a stop: how drafts end that are cut short by it is no news of theirs.

    :raises LanguageModelError: it was stopped.
    """
    with closing(events):
        for event in events:
            if stop.is_set():
                break
            yield event
    if stop.is_set():
        raise LanguageModelError("the answer was stopped")
