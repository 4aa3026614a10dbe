"""JSONL rows and CoQA's conversations become documents; other rows are refused by number."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_tools.documents import Corpus, open_corpus, read_document
from data_tools.errors import DatasetError

STORY = {
    "source": "wikipedia",
    "id": "3zotghdk5",
    "story": "The Vatican Library holds 75,000 codices. It was established in 1475.",
    "questions": [
        {"input_text": "When was it established?", "turn_id": 1},
        {"input_text": "How many codices does it hold?", "turn_id": 2},
    ],
    "answers": [
        {"span_start": 42, "input_text": "in 1475", "turn_id": 1},
        {"span_start": 26, "input_text": "75,000", "turn_id": 2},
    ],
}
CONVERSATION = (
    "The Vatican Library holds 75,000 codices. It was established in 1475.\n\n"
    "Q: When was it established?\nA: in 1475\n\n"
    "Q: How many codices does it hold?\nA: 75,000\n"
)
IN_LISTS = {
    "story": STORY["story"],
    "questions": ["When was it established?", "How many codices does it hold?"],
    "answers": {"input_text": ["in 1475", "75,000"], "answer_start": [42, 26]},
}


def write_rows(file: Path, *rows: Any) -> str:  # noqa: ANN401
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(file)


def texts(corpus: Corpus) -> list[str]:
    return [read_document(item) for item in corpus.documents]


def test_prompts_contexts_and_texts_become_documents(tmp_path: Path) -> None:
    file = write_rows(
        tmp_path / "rows.jsonl",
        {"prompt": "What is é?", "response": "A letter."},
        {"prompt": "Say more:\n", "response": "more"},
        {"context": "The cat sat on the", "continuation": "mat"},
        {"context": "two ", "continuation": "words", "other": 3},
        {"text": "  as it is\n"},
    )
    corpus = open_corpus("jsonl", [file])
    assert texts(corpus) == [
        "What is é?\nA letter.",
        "Say more:\nmore",
        "The cat sat on the mat",
        "two words",
        "  as it is\n",
    ]
    assert [item.path for item in corpus.documents][:2] == ["rows.jsonl#1", "rows.jsonl#2"]


def test_coqa_as_published_and_a_row_a_line_read_alike(tmp_path: Path) -> None:
    published = tmp_path / "coqa-train-v1.0.json"
    published.write_text(json.dumps({"version": "1.0", "data": [STORY, STORY | {"id": "2"}]}))
    assert texts(open_corpus("jsonl", [str(published)])) == [CONVERSATION, CONVERSATION]
    lines = write_rows(tmp_path / "lines.jsonl", STORY, IN_LISTS)
    assert texts(open_corpus("jsonl", [lines])) == [CONVERSATION, CONVERSATION]


def test_blank_lines_are_passed_over_and_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('\n{"text": "one"}\r\n\n{"text": "two"}')
    corpus = open_corpus("jsonl", [str(file)])
    assert [item.path for item in corpus.documents] == ["rows.jsonl#2", "rows.jsonl#4"]
    assert texts(corpus) == ["one", "two"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "?", "answer": "!"}, "it needs `prompt` and `response`"),
        ({"prompt": "only"}, "it needs `prompt` and `response`"),
        ({"prompt": "a", "response": 3}, "`response` is not text"),
        (["a"], "not a JSON object"),
        (IN_LISTS | {"questions": [1, 2]}, "`questions` is no list of texts"),
        (IN_LISTS | {"questions": ["one"]}, "1 questions, but 2 answers"),
    ],
)
def test_other_rows_are_refused_with_their_number(tmp_path: Path, row: object, reason: str) -> None:
    file = write_rows(tmp_path / "rows.jsonl", {"text": "fine"}, {"text": "fine"}, row)
    with pytest.raises(DatasetError, match=rf"rows\.jsonl:3: {reason}"):
        open_corpus("jsonl", [file])


def test_what_is_no_json_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(DatasetError, match=r"rows\.jsonl:2: not a line of JSON"):
        open_corpus("jsonl", [str(file)])


@pytest.mark.parametrize("content", ["[]", '{"rows": []}', '{"data": [1]}', "{}\n{}\n"])
def test_json_that_is_not_coqa_s_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(DatasetError, match="CoQA's JSON"):
        open_corpus("jsonl", [str(tmp_path / "other.json")])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"there is no file .*gone\.jsonl"):
        open_corpus("jsonl", [str(tmp_path / "gone.jsonl")])
