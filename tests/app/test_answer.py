"""Question → evidence → cited answer, over a real index and a stub server on real HTTP."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


def test_what_an_answer_took_is_told(index: CodeIndex) -> None:
    with StubOpenAI(reply="A bucket [1:L4].", delay_s=0.01) as stub:
        chat = open_chat_model(stub.url)
        _, last = ask(index, "What does TokenBucket do?", chat=chat)
        words = sum(len(message["content"].split()) for message in stub.chats[-1].messages)
    usage = last.usage
    assert usage is not None
    assert usage.first_token_s is not None
    assert 0 < usage.search_s < usage.first_token_s < usage.total_s
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens) == (1, words, 4)


def test_quotations_take_no_call_and_tokens_that_no_one_counted_are_unknown(
    index: CodeIndex,
) -> None:
    _, quoted = ask(index, "What does TokenBucket do?")
    with StubOpenAI(reply="A bucket [1:L4].", fault="no_counting") as stub:
        _, last = ask(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
    for answered, calls in ((quoted, 0), (last, 1)):
        assert answered.usage is not None
        assert answered.usage.calls == calls
        assert answered.usage.prompt_tokens is answered.usage.completion_tokens is None


def test_a_name_that_the_cited_lines_do_not_hold_is_doubted(index: CodeIndex) -> None:
    with StubOpenAI(reply="`TokenBucket` takes [1:L4]. `LeakyBucket` leaks [1:L8].") as stub:
        _, last = ask(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
    (doubt,) = last.doubts
    assert (doubt.citation.start_line, doubt.names) == (8, ("LeakyBucket",))


def test_malformed_citations_are_dropped_and_counted_and_the_text_is_kept(index: CodeIndex) -> None:
    with StubOpenAI(reply="It takes [1:L4-]. It waits [bucket.py:L4]. Yes [1:L4-L5].") as stub:
        _, last = ask(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
    assert last.text == "It takes. It waits. Yes [1:L4-L5]."
    assert last.dropped == ("[1:L4-]", "[bucket.py:L4]")


def test_ten_thousand_tokens_are_cut_with_a_note_and_what_arrived_is_kept(
    index: CodeIndex,
) -> None:
    reply = "It limits [1:L4].\n```python\n" + "".join(f"x = {n}\n" for n in range(10_000))
    with StubOpenAI(reply=reply, delta_chars=40, delay_s=0.001) as stub:
        events, last = ask(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
        assert stub.chats[-1].done.wait(5)
        assert stub.chats[-1].closed_early
    assert last.text.startswith("It limits [1:L4-L4].\n```python\nx = 0\n")
    note = "```\n\n*The answer was cut here: it had grown to 16,384 characters.*"
    assert last.text.endswith(note)
    assert len(last.text) < 17_000
    assert "".join(event.text for event in events if isinstance(event, Delta)).endswith(note)


def test_a_model_that_says_the_same_over_and_over_is_cut_with_a_note(index: CodeIndex) -> None:
    with StubOpenAI(reply="- It takes tokens from the bucket.\n" * 400) as stub:
        _, last = ask(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
    assert last.text.endswith("*The answer was cut here: it said the same over and over.*")
    assert len(last.text) < 1_500


def test_a_model_that_returns_nothing_is_said_after_the_evidence(index: CodeIndex) -> None:
    with StubOpenAI(fault="empty") as stub:
        stream = answer(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
        assert isinstance(next(stream), EvidenceFound)
        with pytest.raises(LanguageModelError, match="gave an empty answer: ask again"):
            next(stream)


def test_what_came_before_a_model_died_is_kept(index: CodeIndex) -> None:
    seen: list[Event] = []
    with StubOpenAI(reply="A bucket does it, slowly.", fault="drop") as stub:
        stream = answer(index, "What does TokenBucket do?", chat=open_chat_model(stub.url))
        with pytest.raises(LanguageModelError, match="broke off"):
            seen.extend(stream)
    assert "".join(e.text for e in seen if isinstance(e, Delta)) == "A bucket doe"


def test_fifty_answers_at_once_are_each_their_own(index: CodeIndex) -> None:
    def reply(messages: list[Message]) -> str:
        return f"Asked: {messages[-1]['content'].rpartition('Question: ')[2]} [1:L4]."

    questions = [f"What does TokenBucket do with {n} tokens?" for n in range(50)]
    with StubOpenAI(reply=reply, delay_s=0.001) as stub, ThreadPoolExecutor(50) as users:
        chat = open_chat_model(stub.url)
        texts = users.map(lambda question: ask(index, question, chat=chat)[1].text, questions)
        for question, text in zip(questions, texts, strict=True):
            assert text.startswith(f"Asked: {question}")
