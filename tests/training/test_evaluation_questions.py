"""Held-out pairs are asked in four contexts, each in the format of the chat."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_tools.chunk import Chunk
from data_tools.errors import DatasetError
from retrieval.fence import REPEATABLE_KEY
from retrieval.index import CodeIndex
from retrieval.prompt import REFUSAL, answer_messages
from tests.fakes import FakeEncoder
from tests.git_repositories import MakeRepo
from training.evaluation_questions import (
    CONTEXTS,
    PAIRS,
    Finder,
    ask_pairs,
    ask_questions,
    read_pairs,
    sample,
)

QUESTION = "How does the token bucket refill?"


@pytest.fixture
def index(tiny_repo: Path, tmp_path: Path) -> Iterator[CodeIndex]:
    """An index of the small repository."""
    with CodeIndex.build([str(tiny_repo)], tmp_path / "index", embedder=FakeEncoder()) as built:
        yield built


def refill(index: CodeIndex) -> Chunk:
    """The chunk that answers `QUESTION`."""
    return next(chunk for chunk in index.chunks() if "def _refill" in chunk.text)


def pair_of(chunk: Chunk, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """A pair whose evidence is a chunk."""
    evidence = {
        "repo": chunk.repo,
        "commit": chunk.commit,
        "path": chunk.path,
        "start_line": chunk.end_line - 1,
        "end_line": chunk.end_line,
    }
    return {
        "id": "place-1",
        "kind": "docstring",
        "question": QUESTION,
        "answer": "By `rate` a second.",
        "evidence": [evidence],
        "split": "test",
    } | fields


def write_pairs(folder: Path, *records: dict[str, Any]) -> Path:
    """Write a dataset of pairs."""
    folder.mkdir(exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "test.jsonl").write_text(lines)
    return folder


def test_a_plain_pair_is_asked_in_four_contexts_with_an_index(
    index: CodeIndex, tmp_path: Path
) -> None:
    gold = refill(index)
    pairs = read_pairs(write_pairs(tmp_path / "pairs", pair_of(gold)), "test")
    asked = ask_pairs(pairs, Finder(index))
    assert list(asked) == [PAIRS, *CONTEXTS]
    plain = ({"role": "user", "content": QUESTION},)
    assert asked[PAIRS][0].messages == asked["no_context"][0].messages == plain
    [alone] = asked["gold_passage"]
    assert alone.messages == tuple(answer_messages(QUESTION, [gold], key=REPEATABLE_KEY))
    assert alone.passages == (gold,)
    [among] = asked["gold_with_distractors"]
    assert gold in among.passages and 1 < len(among.passages) <= 5
    assert among.messages == tuple(answer_messages(QUESTION, among.passages, key=REPEATABLE_KEY))
    [found] = asked["retrieval"]
    hits = index.search(QUESTION, 8)
    assert found.passages == tuple(hit.chunk for hit in hits)
    assert all(item.gold == "By `rate` a second." for part in asked.values() for item in part)
    assert alone.gold_lines[0].end_line == gold.end_line


def test_distractors_hold_none_of_the_answer(index: CodeIndex, tmp_path: Path) -> None:
    gold = refill(index)
    pairs = read_pairs(write_pairs(tmp_path / "pairs", pair_of(gold)), "test")
    [among] = ask_pairs(pairs, Finder(index))["gold_with_distractors"]
    others = [chunk for chunk in among.passages if chunk != gold]
    assert all("def _refill" not in chunk.text for chunk in others)


def test_without_an_index_a_plain_pair_has_no_passages(index: CodeIndex, tmp_path: Path) -> None:
    pairs = read_pairs(write_pairs(tmp_path / "pairs", pair_of(refill(index))), "test")
    assert list(ask_pairs(pairs, None)) == [PAIRS, "no_context"]


def test_a_pair_in_retrieval_augmented_form_brings_its_passages(
    index: CodeIndex, tmp_path: Path
) -> None:
    gold, other = refill(index), index.chunks()[0]
    prompt = answer_messages(QUESTION, [other, gold])
    completion = [{"role": "assistant", "content": "By `rate` [2:L30-L31]."}]
    record = pair_of(gold, prompt=prompt, completion=completion, gold=[2])
    asked = ask_pairs(read_pairs(write_pairs(tmp_path / "raft", record), "test"), None)
    assert list(asked) == [PAIRS, "no_context", "gold_passage", "gold_with_distractors"]
    assert asked[PAIRS][0].messages == asked["gold_with_distractors"][0].messages == tuple(prompt)
    assert [each.path for each in asked[PAIRS][0].passages] == [other.path, gold.path]
    assert asked["gold_passage"][0].messages == tuple(
        answer_messages(QUESTION, [gold], key=REPEATABLE_KEY)
    )
    assert asked[PAIRS][0].gold == "By `rate` [2:L30-L31]."


def test_a_pair_whose_answer_is_not_there_is_asked_in_its_own_form_alone(
    index: CodeIndex, tmp_path: Path
) -> None:
    completion = [{"role": "assistant", "content": f"{REFUSAL} They show a list."}]
    prompt = answer_messages(QUESTION, [index.chunks()[0]])
    absent = pair_of(refill(index), evidence=[], prompt=prompt, completion=completion, gold=[])
    asked = ask_pairs(read_pairs(write_pairs(tmp_path / "raft", absent), "test"), Finder(index))
    assert list(asked) == [PAIRS]
    assert asked[PAIRS][0].is_absent


def test_passages_are_no_more_than_the_context_has_room_for(
    index: CodeIndex, tmp_path: Path
) -> None:
    gold = refill(index)
    room = len(gold.text) + 300
    pairs = read_pairs(write_pairs(tmp_path / "pairs", pair_of(gold)), "test")
    asked = ask_pairs(pairs, Finder(index, room))
    for part in ("gold_passage", "gold_with_distractors", "retrieval"):
        [item] = asked[part]
        assert sum(len(chunk.text) for chunk in item.passages) <= room or len(item.passages) == 1
    assert gold in asked["gold_with_distractors"][0].passages


def test_an_index_of_another_commit_is_refused(index: CodeIndex, tmp_path: Path) -> None:
    record = pair_of(refill(index))
    record["evidence"][0]["commit"] = "d" * 40
    pairs = read_pairs(write_pairs(tmp_path / "pairs", record), "test")
    with pytest.raises(DatasetError, match="at dddddddddddd; index the commit"):
        ask_pairs(pairs, Finder(index))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"id": "a", "question": "q"}', "answer: Field required"),
        ("{", "Invalid JSON"),
        ('{"id": "a", "question": "q", "answer": "a", "evidence": [{}]}', "evidence.0.repo"),
    ],
)
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str, fault: str) -> None:
    (tmp_path / "test.jsonl").write_text('{"id": "1", "question": "q", "answer": "a"}\n' + line)
    with pytest.raises(DatasetError, match=r"test\.jsonl:2 is no pair") as caught:
        read_pairs(tmp_path, "test")
    assert fault in str(caught.value)


def test_a_dataset_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no readable test.jsonl"):
        read_pairs(tmp_path, "test")
    (tmp_path / "test.jsonl").write_text("\n")
    with pytest.raises(DatasetError, match="is empty"):
        read_pairs(tmp_path, "test")


def test_a_sample_is_always_the_same_and_keeps_the_order() -> None:
    items = [f"item {number}" for number in range(50)]
    few = sample(items, 10, items)
    assert len(few) == 10 and few == sorted(few, key=items.index)
    assert set(few) == set(sample(items[::-1], 10, items[::-1]))
    assert set(sample(items, 5, items)) < set(few)
    assert sample(items, None, items) == sample(items, 50, items) == items


def test_question_sets_are_asked_with_what_the_index_finds(
    index: CodeIndex, tmp_path: Path
) -> None:
    file = tmp_path / "names.jsonl"
    records = [
        {"context": "What refills?", "continuation": "_refill()"},
        {"context": "What is it all about?", "continuation": "retry"},
        {"context": "What is empty?", "continuation": ""},
        {"context": "What is nowhere?", "continuation": "teleport"},
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    asked = ask_questions([file], Finder(index), None)
    assert list(asked) == ["questions:names", "questions:names:telling"]
    assert [item.gold for item in asked["questions:names"]] == ["_refill()", "retry", "teleport"]
    assert [item.gold for item in asked["questions:names:telling"]] == ["_refill()", "retry"]
    first = asked["questions:names"][0]
    assert first.messages == tuple(
        answer_messages("What refills?", first.passages, key=REPEATABLE_KEY)
    )
    plain = ask_questions([file], None, 2)
    assert list(plain) == ["questions:names"]
    assert len(plain["questions:names"]) == 2
    assert all(len(item.messages) == 1 for item in plain["questions:names"])


def test_a_commit_message_stands_in_no_passage(make_repo: MakeRepo, index: CodeIndex) -> None:
    from training.evaluation_questions import Pair

    record = pair_of(refill(index))
    record["evidence"][0] |= {"path": "(commit message)", "commit": "e" * 40}
    asked = ask_pairs([Pair.model_validate(record)], Finder(index))
    assert list(asked) == [PAIRS, "no_context", "retrieval"]
