"""A conversation grows by the events of its answers; what goes wrong becomes a part of it."""

from collections.abc import Generator

from app.answer import Answer, Delta, Event, EvidenceFound, Rewritten
from app.conversation import Draft, Exchange, check, follow, list_turns, take
from data_tools.errors import LanguageModelError
from retrieval.search import Hit
from tests.fakes import MakeChunk


def make_answer(hit: Hit, text: str = "It takes one [1:L1-L1].") -> Answer:
    return Answer(
        question="How are tokens taken?",
        text=text,
        citations=(),
        dropped=("[9:L1-L1]",),
        evidence=(hit,),
        mode="model",
        model="stub",
        abstained=False,
        words_only=False,
    )


def test_each_event_adds_what_it_knows(make_chunk: MakeChunk) -> None:
    hit = Hit(1.0, make_chunk(), None)
    exchange = take(Exchange("And how?"), Rewritten("How are tokens taken?"))
    assert exchange.searched == "How are tokens taken?"
    exchange = take(exchange, EvidenceFound((hit,), words_only=True))
    assert (exchange.evidence, exchange.words_only) == ((hit,), True)
    exchange = take(take(exchange, Delta("It takes ")), Delta("one [1:L1-L1] [7]"))
    assert exchange.running
    assert check(exchange).text == "It takes one [1:L1-L1]"
    assert check(exchange).dropped == ("[7]",)
    answer = make_answer(hit)
    exchange = take(exchange, answer)
    assert not exchange.running
    assert check(exchange).dropped == answer.dropped


def test_a_failing_model_leaves_its_reason_and_the_evidence(make_chunk: MakeChunk) -> None:
    hit = Hit(1.0, make_chunk(), None)

    def events() -> Generator[Event]:
        yield EvidenceFound((hit,), words_only=False)
        yield Delta("It ")
        raise LanguageModelError("the server is down: start it")

    *_, last = follow(Exchange("How?"), events())
    assert last.drafts[0].problem == "the server is down: start it"
    assert (last.evidence, last.drafts[0].text, last.running) == ((hit,), "It ", False)


def test_a_bug_is_said_in_words_and_logged(caplog) -> None:
    def events() -> Generator[Event]:
        yield Delta("It ")
        raise RuntimeError("no such table")

    *_, last = follow(Exchange("How?"), events())
    assert last.drafts[0].problem is not None
    assert "RuntimeError: no such table" in last.drafts[0].problem
    assert "no such table" in caplog.text


def test_closing_the_steps_closes_the_events() -> None:
    closed = []

    def events() -> Generator[Event]:
        try:
            yield Delta("one")
            yield Delta("two")
        finally:
            closed.append(True)

    steps = follow(Exchange("How?"), events())
    assert next(steps).drafts[0].text == "one"
    steps.close()
    assert closed


def test_fast_pieces_of_text_are_put_together() -> None:
    def events() -> Generator[Event]:
        yield Rewritten("How, in full?")
        yield from (Delta(letter) for letter in "abcdef")
        yield EvidenceFound((), words_only=False)

    steps = list(follow(Exchange("How?"), events(), step_s=60))
    assert [step.drafts[0].text for step in steps] == ["", "a", "abcdef"]


def test_history_is_what_was_understood_and_answered_without_citations() -> None:
    exchanges = (
        Exchange("What is it?", drafts=(Draft(text="A bucket [1:L2-L3]."),)),
        Exchange(
            "And who fills it?",
            searched="Who fills the bucket?",
            drafts=(Draft(text="Time does [2]."),),
        ),
        Exchange("Why?", drafts=(Draft(problem="the server is down"),)),
    )
    turns = [(turn.question, turn.answer) for turn in list_turns(exchanges)]
    assert turns == [("What is it?", "A bucket."), ("Who fills the bucket?", "Time does.")]
