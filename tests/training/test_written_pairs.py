"""What a model writes is kept where it can be proved, and never asked for twice."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_tools.errors import LanguageModelError
from data_tools.split import Assignment
from retrieval.index import CodeIndex
from retrieval.prompt import Message
from tests.fakes import FakeEncoder
from training.written_pairs import WritingSettings, WrittenPairs, write_pairs

GOOD = {
    "question": "How many seconds until the token bucket has enough tokens?",
    "answer": "`seconds_until` computes it as `max(0.0, (amount - self.tokens) / self.rate)`.",
}
INVENTED = {**GOOD, "answer": "`seconds_until` computes it as `amount * self.rate`."}
UNQUOTED = {**GOOD, "answer": "It divides what is missing by the rate."}
POINTING = {**GOOD, "question": "What does this function return for tokens?"}
LOST = {
    "question": "zzz qqq xxx www?",
    "answer": "It is `max(0.0, (amount - self.tokens) / self.rate)`.",
}


@pytest.fixture
def index(tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder) -> Iterator[CodeIndex]:
    with CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder) as index:
        yield index


def write(
    index: CodeIndex,
    ask: Callable[[list[Message]], str],
    journal: Path,
    *,
    path: str = "limits/bucket.py",
    top_k: int = 3,
) -> WrittenPairs:
    """Have pairs written from one file."""
    assigned = {("limits", path): Assignment("train", None)}
    settings = WritingSettings("stub", top_k=top_k)
    return write_pairs(index, ask, assigned, settings, journal, lambda _: None)


def test_a_quoted_answer_that_is_found_again_is_kept_with_its_lines(
    index: CodeIndex, tmp_path: Path
) -> None:
    def ask(messages: list[Message]) -> str:
        assert "def seconds_until" in messages[-1]["content"]
        return f"Here it is:\n```json\n{json.dumps([GOOD])}\n```"

    written = write(index, ask, tmp_path / "journal")
    (pair,) = written.pairs
    (evidence,) = pair.evidence
    lines = index.lines("limits", evidence.path, evidence.start_line, evidence.end_line)
    assert "def seconds_until" in lines[0] and "self.rate" in lines[-1]
    assert (pair.kind, pair.split, written.asked, written.dropped) == ("written", "train", 1, {})


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (json.dumps([INVENTED]), "a quotation that is not verbatim"),
        (json.dumps([UNQUOTED]), "an answer without a quotation"),
        (json.dumps([POINTING]), "a question that speaks of the passage"),
        ("I cannot do that.", "a reply that is not the JSON asked for"),
        ('[{"question": "too few fields"}]', "a reply that is not the JSON asked for"),
    ],
)
def test_what_cannot_be_proved_is_thrown_away_and_counted(
    index: CodeIndex, tmp_path: Path, reply: str, reason: str
) -> None:
    written = write(index, lambda _: reply, tmp_path / "journal")
    assert (written.pairs, written.dropped) == ((), {reason: 1})


def test_a_question_that_does_not_find_its_passage_is_thrown_away(
    index: CodeIndex, tmp_path: Path
) -> None:
    reply = json.dumps([{**LOST, "question": "Which repository has a Retry-After changelog?"}])
    written = write(index, lambda _: reply, tmp_path / "journal", top_k=1)
    (reason,) = written.dropped
    assert not written.pairs and "not among the first 1 found" in reason


def test_a_model_that_dies_loses_nothing_and_is_asked_only_for_the_rest(
    index: CodeIndex, tmp_path: Path
) -> None:
    asked: list[str] = []
    assigned = {(chunk.repo, chunk.path): Assignment("train", None) for chunk in index.chunks()}
    settings = WritingSettings("stub")

    def ask(messages: list[Message]) -> str:
        asked.append(messages[-1]["content"])
        if len(asked) == 2:
            raise LanguageModelError("the server is gone")
        return json.dumps([GOOD])

    journal = tmp_path / "journal"
    with pytest.raises(LanguageModelError, match=r"gone; .* 1 of \d+ passages is kept"):
        write_pairs(index, ask, assigned, settings, journal, lambda _: None)
    with journal.open("a") as stream:
        stream.write('\n{"key": "cut o')  # as a crash leaves it
    first = write_pairs(index, ask, assigned, settings, journal, lambda _: None)
    assert len(set(asked)) == first.asked and len(asked) == first.asked + 1
    again = write_pairs(index, ask, assigned, settings, journal, lambda _: None)
    assert again == first and len(asked) == first.asked + 1
