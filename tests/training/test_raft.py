"""Examples show what the chat shows, cite the lines that prove the answer, or refuse."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_tools.chunk import Chunk
from data_tools.errors import DatasetError
from data_tools.qa_codebase import Evidence, QAPair, code_spans
from data_tools.qa_pairs import MinedPairs, MiningSettings, mine_qa_pairs
from data_tools.sources import open_source
from data_tools.split import Assignment
from retrieval.citations import check_citations
from retrieval.fence import REPEATABLE_KEY
from retrieval.index import CodeIndex
from retrieval.prompt import REFUSAL, answer_messages, parse_passages
from tests.fakes import FakeEncoder, MakeChunk
from training.raft import RaftExample, RaftSettings, holds_answer, make_examples


def quiet(_: object) -> None:
    """Report nothing."""


@pytest.fixture
def mined(tiny_repo: Path) -> MinedPairs:
    return mine_qa_pairs([open_source(str(tiny_repo))], MiningSettings(REFUSAL), quiet)


@pytest.fixture
def index(tiny_repo: Path, tmp_path: Path, fake_encoder: FakeEncoder) -> Iterator[CodeIndex]:
    with CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=fake_encoder) as index:
        yield index


def make(mined: MinedPairs, index: CodeIndex, **settings: float) -> list[RaftExample]:
    """The examples of all pairs."""
    chosen = RaftSettings(**settings)  # type: ignore[arg-type]
    return make_examples(mined.pairs, index, mined.assignments, chosen, quiet)[0]


def test_citations_of_an_answer_are_its_evidence_and_the_chat_accepts_them(
    mined: MinedPairs, index: CodeIndex
) -> None:
    examples = [each for each in make(mined, index, absent=0.0) if each.gold]
    assert len(examples) > 20
    for each in examples:
        checked = check_citations(each.completion, each.passages, {})
        assert not checked.dropped and checked.text == each.completion
        assert {citation.passage for citation in checked.citations} == set(each.gold)
        cited = {
            (citation.path, line)
            for citation in checked.citations
            for line in range(citation.start_line, citation.end_line + 1)
        }
        proof = {
            (part.path, line)
            for part in each.pair.evidence
            for line in range(part.start_line, part.end_line + 1)
        }
        assert cited <= proof
        shown = "".join(each.passages[number - 1].text for number in each.gold)
        paths = {part.path for part in each.pair.evidence}
        assert all(
            span in shown or span in paths
            for span in code_spans(each.pair.answer)
            if " " not in span
        )


def test_an_example_asks_exactly_what_the_chat_asks(mined: MinedPairs, index: CodeIndex) -> None:
    for each in make(mined, index):
        record = each.record()
        messages = answer_messages(each.pair.question, each.passages, key=REPEATABLE_KEY)
        assert record["prompt"] == messages
        assert [message["role"] for message in record["completion"]] == ["assistant"]
        passages = parse_passages(record["prompt"][-1]["content"])
        places = [(chunk.path, chunk.start_line, chunk.end_line) for chunk in passages]
        assert places == [(c.path, c.start_line, c.end_line) for c in each.passages]


def test_a_share_is_refused_and_shows_nothing_of_the_evidence(
    mined: MinedPairs, index: CodeIndex
) -> None:
    examples = make(mined, index, absent=0.5)
    refused = [each for each in examples if not each.gold]
    assert 0.35 < len(refused) / len(examples) < 0.65
    for each in refused:
        record = each.record()
        assert record["answer"] == each.completion and each.completion.startswith(REFUSAL)
        assert record["evidence"] == [] and record["gold"] == []
        for chunk in each.passages:
            assert not any(
                chunk.path == part.path
                and chunk.start_line <= part.end_line
                and part.start_line <= chunk.end_line
                for part in each.pair.evidence
            )


def test_without_a_share_only_absent_things_are_refused(
    mined: MinedPairs, index: CodeIndex
) -> None:
    for each in make(mined, index, absent=0.0):
        assert bool(each.gold) == bool(each.pair.evidence)


def test_passages_are_as_many_as_asked_in_an_order_by_chance(
    mined: MinedPairs, index: CodeIndex
) -> None:
    examples = make(mined, index, absent=0.0, distractors=2)
    assert max(len(each.passages) - len(each.gold) for each in examples if each.gold) == 2
    first = {each.gold[0] for each in examples if each.gold}
    assert len(first) > 1
    assert [e.record() for e in examples] == [
        e.record() for e in make(mined, index, absent=0.0, distractors=2)
    ]


def test_a_training_example_shows_training_files_alone(tiny_repo: Path, index: CodeIndex) -> None:
    shares = {"train": 0.4, "validation": 0.3, "test": 0.3}
    settings = MiningSettings(REFUSAL, shares=shares)
    mined = mine_qa_pairs([open_source(str(tiny_repo))], settings, quiet)
    examples = make(mined, index)
    assert {each.pair.split for each in examples} == {"train", "validation", "test"}
    for each in examples:
        shown = {mined.assignments[chunk.repo, chunk.path].split for chunk in each.passages}
        assert each.pair.split != "train" or shown == {"train"}


@pytest.mark.parametrize(
    ("question", "answer", "holds"),
    [
        ("What does `take` return?", "It returns `bool`.", True),
        ("What does `reset` return?", "It returns `bool`.", False),
        ("What does `take` return?", "It returns `int`.", False),
        ("Where is `take` defined?", "The method `take` is defined in `src/bucket.py`.", True),
        ("Where is `take` defined?", "The method `take` is defined in `src/other.py`.", False),
        ("What is it for?", "Return self tokens.", True),
        ("What is it for?", "It saves tokens.", False),
    ],
)
def test_a_distractor_must_not_answer(
    make_chunk: MakeChunk, question: str, answer: str, holds: bool
) -> None:
    assert holds_answer(make_chunk(), QAPair("docstring", question, answer, ())) is holds


def test_an_index_of_another_commit_is_refused_with_what_to_do(
    index: CodeIndex, make_chunk: MakeChunk
) -> None:
    chunk: Chunk = index.chunks()[0]
    evidence = Evidence(chunk.repo, "f" * 40, chunk.path, chunk.start_line, chunk.start_line)
    pair = QAPair("docstring", "What is it?", "It is that.", (evidence,), "train")
    assigned = {(chunk.repo, chunk.path): Assignment("train", None)}
    with pytest.raises(DatasetError, match="holds the evidence of no pair.*codeqa index"):
        make_examples([pair], index, assigned, RaftSettings(), quiet)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="distractors"):
        RaftSettings(distractors=-1)
    with pytest.raises(ValueError, match="absent"):
        RaftSettings(absent=1.5)
