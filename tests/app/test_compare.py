"""Several models side by side: one search, the same prompt, each draft by itself."""

from collections.abc import Iterator

import pytest

from app.answer import Delta, EvidenceFound, Failed, Rewritten
from app.compare import compare
from app.llm import open_chat_model
from retrieval.index import CodeIndex
from retrieval.prompt import REWRITE, Turn
from tests.app.library import answers_of, build_library
from tests.stub_openai import Message, StubOpenAI

QUESTION = "What does TokenBucket do?"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeIndex]:
    with build_library(tmp_path_factory.mktemp("lib"), tmp_path_factory.mktemp("index")) as index:
        yield index


def test_every_model_gets_the_same_prompt_and_its_own_draft(index: CodeIndex) -> None:
    with StubOpenAI("It limits [1:L4].") as one, StubOpenAI("It sings [1:L900].") as other:
        chats = [open_chat_model(one.url), open_chat_model(other.url)]
        events = list(compare(index, QUESTION, chats))
        assert one.chats[0].messages == other.chats[0].messages
    assert isinstance(events[0], EvidenceFound)
    answers = {answer.draft: answer for answer in answers_of(events)}
    assert [answers[0].text, answers[1].text] == ["It limits [1:L4-L4].", "It sings."]
    assert answers[1].dropped == ("[1:L900]",)
    assert answers[0].evidence == answers[1].evidence == events[0].hits
    for number in (0, 1):
        pieces = [e.text for e in events if isinstance(e, Delta) and e.draft == number]
        assert len(pieces) > 1  # word by word


def test_models_answer_at_the_same_time_and_their_pieces_alternate(index: CodeIndex) -> None:
    with StubOpenAI("word " * 16, delta_chars=5, delay_s=0.03) as one:
        chats = [open_chat_model(one.url) for _ in range(3)]
        events = list(compare(index, QUESTION, chats))
    order = [event.draft for event in events if isinstance(event, Delta)]
    assert set(order[:24]) == {0, 1, 2}  # one after the other, the second began at the 17th
    assert set(order[-24:]) == {0, 1, 2}


def test_a_model_that_fails_does_not_keep_the_others_from_answering(index: CodeIndex) -> None:
    with StubOpenAI("It limits [1:L4].") as one, StubOpenAI("It limits.", fault="drop") as other:
        chats = [open_chat_model(other.url), open_chat_model(one.url)]
        events = list(compare(index, QUESTION, chats))
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert failed.draft == 0
    assert "broke off: ask again" in failed.problem
    assert [answer.draft for answer in answers_of(events)] == [1]
    before = [event.text for event in events if isinstance(event, Delta) and event.draft == 0]
    assert before  # what came is kept


def test_a_model_can_be_compared_with_quotations(index: CodeIndex) -> None:
    with StubOpenAI("It limits [1:L4].") as stub:
        events = list(compare(index, QUESTION, [None, open_chat_model(stub.url)]))
    answers = {answer.draft: answer for answer in answers_of(events)}
    assert [answers[n].mode for n in (0, 1)] == ["extractive", "model"]
    assert answers[0].usage is not None
    assert answers[1].usage is not None
    assert [answers[n].usage.calls for n in (0, 1)] == [0, 1]  # type: ignore[union-attr]


def test_a_follow_up_is_made_to_stand_alone_once(index: CodeIndex) -> None:
    def reply(messages: list[Message]) -> str:
        return "What does TokenBucket.take do?" if messages[0]["content"] == REWRITE else "Takes."

    with StubOpenAI(reply) as stub:
        chats = [open_chat_model(stub.url) for _ in range(2)]
        history = [Turn("What is TokenBucket?", "A limiter.")]
        events = list(compare(index, "and take?", chats, history=history))
        assert len(stub.chats) == 3
    assert events[0] == Rewritten("What does TokenBucket.take do?")


def test_weak_evidence_is_said_in_every_draft_and_no_model_is_asked(index: CodeIndex) -> None:
    with StubOpenAI() as stub:
        chats = [open_chat_model(stub.url), None]
        events = list(compare(index, "How are Kafka invoices reconciled?", chats))
        assert stub.chats == []
    assert [answer.abstained for answer in answers_of(events)] == [True, True]


def test_closing_stops_every_model(index: CodeIndex) -> None:
    with StubOpenAI("word " * 500, delay_s=0.02) as stub:
        stream = compare(index, QUESTION, [open_chat_model(stub.url) for _ in range(2)])
        while not isinstance(next(stream), Delta):
            pass
        stream.close()
        for request in stub.chats:
            assert request.done.wait(5)
            assert request.closed_early


def test_nothing_to_compare_is_refused(index: CodeIndex) -> None:
    with pytest.raises(ValueError, match="no model to compare"):
        next(compare(index, QUESTION, []))
