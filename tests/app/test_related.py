"""Questions to go on with: only such as the index can answer, and not what was just shown."""

from collections.abc import Iterator

import pytest

from app.abstention import missing_words
from app.answer import Answer, answer
from app.llm import open_chat_model
from retrieval.index import CodeIndex
from retrieval.prompt import SUGGEST
from tests.app.library import build_library
from tests.stub_openai import Message, StubOpenAI

QUESTION = "What does TokenBucket do?"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeIndex]:
    with build_library(tmp_path_factory.mktemp("lib"), tmp_path_factory.mktemp("index")) as index:
        yield index


def ask(index: CodeIndex, suggestions: str | None = None, question: str = QUESTION) -> Answer:
    def reply(messages: list[Message]) -> str:
        asked = messages[-1]["content"]
        return suggestions or "" if asked == SUGGEST else "It limits [1:L4]."

    with StubOpenAI(reply) as stub:
        chat = None if suggestions is None else open_chat_model(stub.url)
        *_, last = answer(index, question, chat=chat, k=1, strategy="related")
    assert isinstance(last, Answer)
    return last


def test_without_a_model_questions_are_mined_and_can_be_answered(index: CodeIndex) -> None:
    last = ask(index)
    assert 1 <= len(last.related) <= 3
    shown = {(hit.chunk.path, hit.chunk.start_line) for hit in last.evidence}
    for question in last.related:
        hits = index.search(question, 3)
        assert missing_words(index, question, hits) is None
        assert {(hit.chunk.path, hit.chunk.start_line) for hit in hits} - shown


def test_the_model_s_suggestions_come_first_and_those_without_an_answer_are_left_out(
    index: CodeIndex,
) -> None:
    last = ask(
        index,
        "1. How are Kafka invoices reconciled?\n2. What does RedisStore keep in a Redis server?\n"
        f"3. {QUESTION}\n4. How do I export metrics to Prometheus?",
    )
    assert last.related[:2] == (
        "What does RedisStore keep in a Redis server?",
        "How do I export metrics to Prometheus?",
    )
    assert QUESTION not in last.related
    assert last.usage is not None
    assert last.usage.calls == 2


def test_a_model_that_suggests_nothing_leaves_it_to_what_was_mined(index: CodeIndex) -> None:
    assert ask(index, "I have no idea.").related == ask(index).related


def test_no_answer_leads_to_no_questions(index: CodeIndex) -> None:
    last = ask(index, question="How are Kafka invoices reconciled?")
    assert (last.abstained, last.related) == (True, ())
