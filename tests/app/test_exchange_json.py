"""An exchange is written as JSON and read back as it was."""

import json
from dataclasses import replace

import pytest

from app.answer import Answer, Doubt, Step, Usage
from app.conversation import Draft, Exchange, Question
from app.exchange_json import read_exchange, write_exchange
from retrieval.citations import Citation
from retrieval.prompt import Turn
from retrieval.search import Hit
from tests.fakes import MakeChunk


@pytest.fixture
def exchange(make_chunk: MakeChunk) -> Exchange:
    """An exchange in which every field is set."""
    hits = (
        Hit(0.5, make_chunk(), "https://github.com/o/limits", 0.25),
        Hit(0.1, make_chunk(), None),
    )
    citation = Citation(1, "limits", "src/bucket.py", 1, 2, None)
    answer = Answer(
        question="How does take work?",
        text="It takes [1:L1-L2].",
        citations=(citation,),
        dropped=("[9]",),
        evidence=hits,
        mode="model",
        model="tuned",
        abstained=False,
        words_only=True,
        doubts=(Doubt(citation, ("refill",)),),
        related=("And refill?",),
        usage=Usage(0.1, None, 0.3, 2, 100, None),
    )
    return Exchange(
        "How?",
        id="e1",
        strategy="sub-questions",
        searched="How does take work?",
        parts=("What?", "When?"),
        steps=(Step(1, "What?", "This.", hits[:1], abstained=False),),
        evidence=hits,
        words_only=True,
        drafts=(Draft("tuned", "It takes", answer), Draft(None, problem="down")),
        blind=True,
        vote="left",
        thumb="down",
        reason="too short",
        asked=Question("How?", "sub-questions", ("tuned", None), blind=True, path_glob="*.py"),
        asked_at=1_795_000_000.25,
        history=(Turn("What is it?", "A bucket."),),
    )


def test_every_field_comes_back(exchange: Exchange) -> None:
    assert read_exchange(write_exchange(exchange)) == exchange


def test_evidence_that_answers_share_is_written_once(exchange: Exchange) -> None:
    assert write_exchange(exchange).count("self.tokens > 0") == 2 + 1  # two hits, one in a step


def test_evidence_of_an_answer_alone_is_written_with_it(exchange: Exchange) -> None:
    other = replace(exchange, evidence=exchange.evidence[:1] if exchange.evidence else None)
    assert read_exchange(write_exchange(other)) == other


def test_what_is_no_text_does_not_keep_an_exchange_from_being_written() -> None:
    exchange = Exchange("a\ud800b\0c", drafts=(Draft(text="\udfff"),))
    again = read_exchange(write_exchange(exchange))
    assert (again.typed, again.drafts[0].text) == ("a?b\0c", "?")


def test_fields_of_another_version_do_no_harm() -> None:
    record = json.loads(write_exchange(Exchange("How?")))
    del record["steps"], record["asked"]
    again = read_exchange(json.dumps(record | {"mood": "fine"}))
    assert again == Exchange("How?")


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"format": 1}', '{"format": 2, "typed": "How?", "drafts": []}'],
)
def test_what_is_no_exchange_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_exchange(text)
