"""A question in parts: how it is broken up, and what becomes of the parts and the whole."""

from collections.abc import Iterator

import pytest

from app.answer import Answer, Delta, Event, EvidenceFound, Step, SubQuestions, answer
from app.llm import open_chat_model
from app.sub_questions import split_by_rule
from data_tools.errors import LanguageModelError
from retrieval.index import CodeIndex
from retrieval.prompt import SPLIT
from tests.app.library import build_library
from tests.stub_openai import Message, StubOpenAI

DIFFERENCE = "What is the difference between TokenBucket and SlidingWindow?"
PARTS = ("What is TokenBucket?", "What is SlidingWindow?")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeIndex]:
    with build_library(tmp_path_factory.mktemp("lib"), tmp_path_factory.mktemp("index")) as index:
        yield index


def ask(index: CodeIndex, question: str, **options: object) -> tuple[list[Event], Answer]:
    events = list(answer(index, question, strategy="sub-questions", **options))  # type: ignore[arg-type]
    last = events[-1]
    assert isinstance(last, Answer)
    return events, last


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        (DIFFERENCE, PARTS),
        ("Compare TokenBucket with SlidingWindow.", PARTS),
        ("compare TokenBucket and SlidingWindow", PARTS),
        ("How does TokenBucket differ from SlidingWindow?", PARTS),
        (
            "What is a bucket for? How is it refilled?",
            ("What is a bucket for?", "How is it refilled?"),
        ),
        (
            "Where are checkpoints saved and how do I load one?",
            ("Where are checkpoints saved?", "How do I load one?"),
        ),
        (
            "What is A Timer, where is it used, and which class stops it?",
            ("What is A Timer, where is it used?", "Which class stops it?"),
        ),
        ("What does `take` do?", ()),
        ("How do I save and load a checkpoint?", ()),
        ("How do black and white images differ?", ()),
        ("Where and how?", ()),
        ("Why? How?", ()),
    ],
)
def test_without_a_model_grammar_shows_the_parts(question: str, parts: tuple[str, ...]) -> None:
    assert split_by_rule(question) == parts


def test_at_most_four_parts_are_kept() -> None:
    question = " ".join(f"What does part{number} do?" for number in range(9))
    assert len(split_by_rule(question)) == 4


def test_each_part_is_quoted_under_its_heading_with_citations_into_all_the_evidence(
    index: CodeIndex,
) -> None:
    events, last = ask(index, DIFFERENCE)
    assert events[0] == SubQuestions(PARTS)
    assert isinstance(events[1], EvidenceFound)
    steps = [event for event in events if isinstance(event, Step)]
    assert [(step.number, step.question, step.abstained) for step in steps] == [
        (1, PARTS[0], False),
        (2, PARTS[1], False),
    ]
    assert "[1:" not in steps[0].text
    assert "**What is TokenBucket?**" in last.text
    assert "**What is SlidingWindow?**" in last.text
    assert last.dropped == ()
    assert last.doubts == ()
    assert {citation.path for citation in last.citations} >= {"bucket.py", "window.py"}
    for citation in last.citations:
        chunk = last.evidence[citation.passage - 1].chunk
        assert citation.path == chunk.path
        assert chunk.start_line <= citation.start_line <= citation.end_line <= chunk.end_line
    places = [(hit.chunk.path, hit.chunk.start_line) for hit in last.evidence]
    assert len(places) == len(set(places))


def test_a_model_splits_answers_the_parts_and_combines_them(index: CodeIndex) -> None:
    def reply(messages: list[Message]) -> str:
        asked = messages[-1]["content"]
        if messages[0]["content"] == SPLIT:
            return "Sure:\n1. What is TokenBucket?\n2. **What is SlidingWindow?**\n"
        if "Notes on its parts" in asked:
            return "One refills, one counts [1:L1]."
        return "A bucket [1:L1]." if asked.endswith(PARTS[0]) else "A window [1:L1] [9:L1]."

    with StubOpenAI(reply) as stub:
        events, last = ask(index, DIFFERENCE, chat=open_chat_model(stub.url))
        final = stub.chats[-1].messages[-1]["content"]
        assert len(stub.chats) == 4
    assert [type(event) for event in events[:4]] == [SubQuestions, EvidenceFound, Step, Step]
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.text for step in steps] == ["A bucket.", "A window."]
    assert "What is TokenBucket?\nA bucket." in final
    assert final.endswith(f"Question: {DIFFERENCE}")
    assert "".join(e.text for e in events if isinstance(e, Delta)) == (
        "One refills, one counts [1:L1]."
    )
    assert last.mode == "model"
    assert last.usage is not None
    assert last.usage.calls == 4


@pytest.mark.parametrize("reply", ["ONE", "I cannot.", "1. What is TokenBucket?", "1. \n2. "])
def test_a_question_that_has_no_parts_is_answered_directly(index: CodeIndex, reply: str) -> None:
    def say(messages: list[Message]) -> str:
        return reply if messages[0]["content"] == SPLIT else "It limits [1:L1]."

    with StubOpenAI(say) as stub:
        events, last = ask(index, DIFFERENCE, chat=open_chat_model(stub.url))
    assert not any(isinstance(event, SubQuestions | Step) for event in events)
    assert last.text == "It limits [1:L1-L1]."


def test_a_part_without_evidence_says_so_and_the_others_are_answered(index: CodeIndex) -> None:
    question = "What does TokenBucket do? How are Kafka invoices reconciled?"
    events, last = ask(index, question)
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.abstained for step in steps] == [False, True]
    assert not last.abstained
    assert "I did not find an answer" in last.text


def test_parts_that_all_lack_evidence_are_no_answer_and_no_model_is_asked(
    index: CodeIndex,
) -> None:
    split = "1. How are Kafka invoices reconciled?\n2. Which Kafka invoices lapse?"
    with StubOpenAI(split) as stub:
        question = "How are Kafka invoices reconciled and which of them lapse?"
        events, last = ask(index, question, chat=open_chat_model(stub.url))
        assert len(stub.chats) == 1
    assert [event.abstained for event in events if isinstance(event, Step)] == [True, True]
    assert last.abstained
    assert "`Kafka`" in last.text


def test_a_server_that_fails_at_a_part_is_said_after_the_evidence(index: CodeIndex) -> None:
    with StubOpenAI("x", fault=500) as stub:
        seen = []
        with pytest.raises(LanguageModelError, match="500"):
            for event in answer(
                index, DIFFERENCE, chat=open_chat_model(stub.url), strategy="sub-questions"
            ):
                seen.append(type(event))
    assert seen[:2] == [SubQuestions, EvidenceFound]  # broken up by rule
