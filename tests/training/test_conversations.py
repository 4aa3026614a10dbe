"""Rows of every shape become conversations; bad ones are named."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_tools.dataset import (
    DatasetSource,
    SplitCounts,
    make_manifest,
    register,
    write_manifest,
)
from data_tools.errors import DatasetError
from training.config import Data
from training.conversations import conversation_of, hold_out, read_pairs
from training.templates import Conversation

QUESTION = {"question": "What refills?", "answer": "The bucket."}


def write_rows(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return file


def make_rows(count: int) -> list[dict[str, Any]]:
    return [{"question": f"Question {at}?", "answer": f"Answer {at}."} for at in range(count)]


def questions(conversations: list[Conversation]) -> list[str]:
    return [conversation.messages[-2]["content"] for conversation in conversations]


def roles(row: dict[str, Any]) -> tuple[list[str], int]:
    conversation = conversation_of(row, None, "row 1")
    assert conversation is not None
    return [message["role"] for message in conversation.messages], conversation.prompt_messages


def test_a_prompt_with_its_completion_is_a_conversation() -> None:
    prompt = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    completion = [{"role": "assistant", "content": "A"}]
    row = {"id": "1", "prompt": prompt, "completion": completion, "gold": [2], "question": "Q"}
    assert roles(row) == (["system", "user", "assistant"], 2)


def test_messages_train_every_answer_in_them() -> None:
    messages = [
        {"role": role, "content": text}
        for role, text in [("user", "Q"), ("assistant", "A"), ("user", "Q2"), ("assistant", "A2")]
    ]
    assert roles({"messages": messages}) == (["user", "assistant"] * 2, 0)


def test_texts_are_messages_of_the_user_and_the_assistant() -> None:
    assert roles({"prompt": "Q", "completion": "A"}) == (["user", "assistant"], 1)
    assert roles(QUESTION | {"evidence": []}) == (["user", "assistant"], 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a"}, "row 1 has the columns text, which are no conversation: map them"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "messages must look like"),
        ({"messages": [{"role": "user", "content": "a"}]}, "no message of the assistant"),
        ({"prompt": 7, "completion": "a"}, "messages must look like"),
    ],
)
def test_a_row_of_no_known_shape_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        conversation_of(row, None, "row 1")


def test_a_folder_gives_both_its_splits(tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs/train.jsonl", [*make_rows(3), {"question": "", "answer": "x"}])
    write_rows(tmp_path / "pairs/validation.jsonl", [QUESTION])
    pairs = read_pairs(Data(pairs=[str(tmp_path / "pairs")]), seed=0)
    assert questions(pairs.train) == ["Question 0?", "Question 1?", "Question 2?"]
    assert questions(pairs.validation) == ["What refills?"]
    assert pairs.left_out == 1


def test_a_version_is_found_by_its_name_and_named_by_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQA_DATASETS", str(tmp_path / "versions"))
    folder = tmp_path / "pairs"
    write_rows(folder / "train.jsonl", make_rows(3))
    manifest = make_manifest(
        folder,
        name="limits",
        hash="ab" * 32,
        kind="pairs",
        sources=[DatasetSource(repo="limits", location=".", files=1)],
        settings={},
        splits={"train": SplitCounts(documents=3, samples=3)},
    )
    write_manifest(folder, manifest)
    register(folder)
    pairs = read_pairs(Data(pairs=["limits@abab"]), seed=0)
    assert pairs.versions == ["limits@abababababab"]
    write_rows(folder / "train.jsonl", make_rows(4))
    with pytest.raises(DatasetError, match=r"train\.jsonl of .* is damaged"):
        read_pairs(Data(pairs=["limits@abab"]), seed=0)


def test_the_version_of_a_file_changes_with_its_content(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "pairs.jsonl", make_rows(3))
    data = Data(pairs=[str(file)])
    before = read_pairs(data, seed=0).versions
    assert read_pairs(data, seed=0).versions == before
    write_rows(file, make_rows(4))
    assert read_pairs(data, seed=0).versions != before


def test_a_file_alone_has_a_twentieth_of_its_prompts_set_aside(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "pairs.jsonl", make_rows(60))
    pairs = read_pairs(Data(pairs=[str(file)]), seed=0)
    assert len(pairs.validation) == 3
    assert len(pairs.train) == 57
    assert not set(questions(pairs.train)) & set(questions(pairs.validation))


def test_equal_prompts_stand_on_one_side_whatever_their_order() -> None:
    rows = make_rows(40) + [row | {"answer": "Another."} for row in make_rows(40)]
    conversations = [conversation_of(row, None, "row") for row in rows]
    found = [conversation for conversation in conversations if conversation]
    train, aside = hold_out(found, seed=3)
    assert len(aside) == 4
    assert not set(questions(train)) & set(questions(aside))
    assert {*questions(hold_out(found[::-1], seed=3)[1])} == {*questions(aside)}
    assert {*questions(hold_out(found, seed=4)[1])} != {*questions(aside)}


def test_a_dataset_in_the_form_of_the_hub_is_read(tmp_path: Path) -> None:
    write_rows(tmp_path / "set/train.jsonl", make_rows(4))
    pairs = read_pairs(Data(pairs=[f"hf://{tmp_path / 'set'}"]), seed=0)
    assert len(pairs.train) + len(pairs.validation) == 4


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere/pairs.jsonl", "is no dataset"),
        ("missing@abcd", "there is no dataset missing@abcd"),
        ("hf:///nowhere/at/all", "cannot load the dataset /nowhere/at/all"),
    ],
)
def test_a_missing_source_is_named(
    source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEQA_DATASETS", str(tmp_path / "versions"))
    with pytest.raises(DatasetError, match=message):
        read_pairs(Data(pairs=[source]), seed=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "a"', r"pairs\.jsonl:2 is no JSON"),
        ("[1]", r"pairs\.jsonl:2 must be an object"),
        ("", "holds no pair that has a question and an answer"),
    ],
)
def test_a_bad_line_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(f"\n{text}\n", "utf-8")
    with pytest.raises(DatasetError, match=message):
        read_pairs(Data(pairs=[str(file)]), seed=0)


def test_a_folder_without_pairs_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no train\.jsonl; make pairs with"):
        read_pairs(Data(pairs=[str(tmp_path)]), seed=0)
