"""Question → evidence → cited answer, over a real index and a stub server on real HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.answer import Answer, Delta, Event, EvidenceFound, Rewritten, answer
from app.llm import open_chat_model
from data_tools.errors import LanguageModelError, QuestionError
from retrieval.embed import Embedder
from retrieval.index import CodeIndex
from retrieval.prompt import REFUSAL, REWRITE, SYSTEM, Turn
from tests.stub_openai import Message, StubOpenAI

LIMITER = '''"""A small rate limiter."""


class TokenBucket:
    """Limits how often something happens, by tokens that refill over time."""

    def take(self, tokens: int) -> bool:
        """Take tokens from the bucket, or return False if too few are left."""
        return self._take(tokens)
'''
GUIDE = "# Limits\n\n## Configuration\n\nSet `refill_rate` in `limits.toml`, in tokens a second.\n"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeIndex]:
    folder = tmp_path_factory.mktemp("limits")
    (folder / "bucket.py").write_text(LIMITER)
    (folder / "guide.md").write_text(GUIDE)
    with CodeIndex.build([str(folder)], tmp_path_factory.mktemp("index")) as index:
        yield index


def ask(index: CodeIndex, question: str, **options: object) -> tuple[list[Event], Answer]:
    events = list(answer(index, question, **options))  # type: ignore[arg-type]
    last = events[-1]
    assert isinstance(last, Answer)
    return events, last


def test_evidence_comes_first_and_the_checked_answer_last(index: CodeIndex) -> None:
    events, last = ask(index, "What limits how often something happens?")
    assert [type(event) for event in events] == [EvidenceFound, Delta, Answer]
    assert (last.mode, last.model, last.abstained) == ("extractive", None, False)
    assert "`TokenBucket`" in last.text
    chunk = last.evidence[last.citations[0].passage - 1].chunk
    assert chunk.start_line <= last.citations[0].start_line <= last.citations[0].end_line
    assert last.citations[0].path == chunk.path == "bucket.py"


def test_a_model_s_words_stream_as_they_come(index: CodeIndex) -> None:
    with StubOpenAI(reply="A `TokenBucket` does [1:L4-L5].", delay_s=0.01) as stub:
        chat = open_chat_model(stub.url)
        events, last = ask(index, "What limits how often something happens?", chat=chat)
    deltas = [event.text for event in events if isinstance(event, Delta)]
    assert len(deltas) > 3
    assert "".join(deltas) == "A `TokenBucket` does [1:L4-L5]."
    assert (last.mode, last.abstained) == ("model", False)
    assert [(c.path, c.start_line, c.end_line) for c in last.citations] == [("bucket.py", 4, 5)]


def test_the_model_gets_the_rules_first_then_numbered_evidence_then_the_question(
    index: CodeIndex,
) -> None:
    with StubOpenAI(reply="Yes [1:L4].") as stub:
        ask(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
        messages = stub.chats[-1].body["messages"]
    assert messages[0] == {"role": "system", "content": SYSTEM}
    assert "[1] bucket.py:L1-L9" in messages[-1]["content"]
    assert "4 | class TokenBucket:" in messages[-1]["content"]
    assert messages[-1]["content"].endswith("Question: What does TokenBucket do?")


def test_an_invented_citation_is_removed_and_reported(index: CodeIndex) -> None:
    with StubOpenAI(reply="It refills [1:L4-L5]. It sings [1:L400-L410] [9:L1-L2].") as stub:
        _, last = ask(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
    assert last.text == "It refills [1:L4-L5]. It sings."
    assert last.dropped == ("[1:L400-L410]", "[9:L1-L2]")


def test_a_refusal_of_the_model_counts_as_abstaining(index: CodeIndex) -> None:
    with StubOpenAI(reply=f"{REFUSAL} They show a bucket [1:L4].") as stub:
        _, last = ask(index, "What colour is the TokenBucket?", chat=open_chat_model(stub.url))
    assert last.abstained


def test_weak_evidence_is_not_shown_to_the_model_and_what_was_sought_is_named(
    index: CodeIndex,
) -> None:
    with StubOpenAI(reply="Kafka is great.") as stub:
        chat = open_chat_model(stub.url)
        _, last = ask(index, "How are Kafka invoices reconciled?", chat=chat)
        assert stub.chats == []
    assert last.abstained
    assert "`Kafka`" in last.text
    assert "2 passages searched" in last.text


@pytest.mark.parametrize(
    ("fault", "says"),
    [(500, "500"), ("rate_limit", "429"), ("drop", "broke"), ("stall", "1"), ("hang", "1")],
)
def test_a_fault_of_the_server_is_one_line(index: CodeIndex, fault: object, says: str) -> None:
    with StubOpenAI(reply="A bucket does it, slowly.") as stub:
        chat = open_chat_model(stub.url, timeout_s=1.0)
        stub.fault = fault  # type: ignore[assignment]
        with pytest.raises(LanguageModelError) as caught:
            list(answer(index, "What does TokenBucket do?", chat=chat))
    assert "\n" not in str(caught.value)
    assert says in str(caught.value).lower()


def test_evidence_is_sent_before_a_server_fails(index: CodeIndex) -> None:
    with StubOpenAI(reply="x", fault=500) as stub:
        stream = answer(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
        assert isinstance(next(stream), EvidenceFound)
        with pytest.raises(LanguageModelError):
            next(stream)


def test_closing_the_answer_closes_the_connection(index: CodeIndex) -> None:
    with StubOpenAI(reply="word " * 500, delay_s=0.02) as stub:
        stream = answer(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
        while not isinstance(next(stream), Delta):
            pass
        stream.close()
        assert stub.chats[-1].done.wait(5)
        assert stub.chats[-1].closed_early


def test_a_follow_up_is_rewritten_by_rule_without_a_model(index: CodeIndex) -> None:
    history = [Turn("What is the TokenBucket?", "A limiter.")]
    events, last = ask(index, "and how do I configure it?", history=history)
    assert events[0] == Rewritten("how do I configure TokenBucket?")
    assert last.question == "how do I configure TokenBucket?"


def test_a_follow_up_is_rewritten_by_the_model_and_history_is_in_the_prompt(
    index: CodeIndex,
) -> None:
    def reply(messages: list[Message]) -> str:
        if messages[0]["content"] == REWRITE:
            return "How is the refill_rate of a TokenBucket configured?"
        return "In `limits.toml` [1:L5]."

    history = [Turn("What is the TokenBucket?", "A limiter.")]
    with StubOpenAI(reply=reply) as stub:
        events, last = ask(index, "how is it set?", chat=open_chat_model(stub.url), history=history)
        messages = stub.chats[-1].body["messages"]
    assert events[0] == Rewritten("How is the refill_rate of a TokenBucket configured?")
    assert [m["content"] for m in messages[1:3]] == ["What is the TokenBucket?", "A limiter."]
    assert [c.path for c in last.citations] == [last.evidence[0].chunk.path]


def test_filters_reach_the_search(index: CodeIndex) -> None:
    _, last = ask(index, "What is a token?", languages=["markdown"])
    assert {hit.chunk.language for hit in last.evidence} == {"markdown"}


def test_while_vectors_are_missing_the_answer_says_that_words_alone_were_searched(
    tmp_path: Path, fake_encoder: Embedder
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "bucket.py").write_text(LIMITER)
    seen: list[Answer] = []

    def report(progress: object) -> None:
        if getattr(progress, "stage", "") == "lexical-ready":
            with CodeIndex.open(tmp_path / "index") as early:
                seen.append(ask(early, "What is the TokenBucket?")[1])

    CodeIndex.build(
        [str(tmp_path / "code")], tmp_path / "index", embedder=fake_encoder, report=report
    ).close()
    assert seen[0].words_only
    assert "`TokenBucket`" in seen[0].text


@pytest.mark.parametrize("question", ["", "  \n", "x" * 100_000, "caf\udce9"])
def test_a_question_that_cannot_be_searched_is_refused(index: CodeIndex, question: str) -> None:
    with pytest.raises(QuestionError):
        next(answer(index, question))
