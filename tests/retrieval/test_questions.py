"""Question sets: each form is read, and every flaw is refused with its file and line."""

import json
from pathlib import Path

import pytest

from data_tools.errors import QuestionSetError
from retrieval.questions import GoldLines, Question, read_questions, telling_questions

GOOD = {"query": "Where are tokens taken?", "files": ["limits/bucket.py"]}


def write(tmp_path: Path, *records: object) -> Path:
    """A JSONL file of records; text goes in as it is."""
    file = tmp_path / "questions.jsonl"
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return file


def test_the_plain_form_is_read(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {
            "id": "q1",
            "query": " Where are tokens taken? ",
            "files": ["./limits/bucket.py", "README.md"],
            "lines": [["limits/bucket.py", 17, 23], ["web/client.ts", 5, 9, 2]],
            "answer": "take",
            "kind": "docstring",
        },
        "",
        {"query": "How are cookies signed?", "answerable": False},
        {"id": 7, "query": "Which class refuses?", "answer": "RateLimitMiddleware"},
    )
    first, second, third = read_questions(file)
    assert first == Question(
        id="q1",
        query="Where are tokens taken?",
        files=("limits/bucket.py", "README.md", "web/client.ts"),
        lines=(GoldLines("limits/bucket.py", 17, 23, 1), GoldLines("web/client.ts", 5, 9, 2)),
        answer="take",
        answerable=True,
        kind="docstring",
    )
    assert (second.id, second.line_number, second.answerable) == ("3", 3, False)
    assert (third.id, third.files, third.lines) == ("7", (), ())


def test_a_context_is_continued_by_the_answer(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"context": "What answers 429?", "continuation": "RateLimitMiddleware"},
        {"context": "What handles downloads?", "continuation": ""},
    )
    answered, empty = read_questions(file)
    assert answered == Question("1", "What answers 429?", answer="RateLimitMiddleware")
    assert empty == Question("2", "What handles downloads?")  # measured on nothing


def test_a_table_of_results_is_read(tmp_path: Path) -> None:
    file = tmp_path / "set.csv"
    file.write_text(
        "query,result1,result2,result3\n"
        'take tokens,limits/bucket.py:17-23:2,"docs/a, b.md:1-2:1",\n'
        "\n"
        "wait,web/client.ts:5-9,,\n"
    )
    first, second = read_questions(file)
    assert first.query == "take tokens"
    assert first.files == ("limits/bucket.py", "docs/a, b.md")
    assert first.lines == (
        GoldLines("limits/bucket.py", 17, 23, 2),
        GoldLines("docs/a, b.md", 1, 2, 1),
    )
    assert (second.id, second.lines) == ("4", (GoldLines("web/client.ts", 5, 9, 1),))


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n")
    assert [question.query for question in read_questions(file)] == [GOOD["query"]]
    table = tmp_path / "set.csv"
    table.write_bytes(b"\xef\xbb\xbfquery,result1\r\nwait,a.py:1-2:1\r\n")
    assert [question.files for question in read_questions(table)] == [("a.py",)]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ('{"query": "a b", ', "not JSON"),
        ("[1, 2]", "Input should be an object"),
        ({"files": ["a.py"]}, "`query`: Field required"),
        ({"query": 3, "files": ["a.py"]}, "`query`: Input should be a valid string"),
        ({"query": " ", "files": ["a.py"]}, "the question is empty"),
        ({"query": "x" * 20_001, "files": ["a.py"]}, "shorten it"),
        ({"query": "where?"}, "nothing is gold"),
        ({"query": "where?", "files": []}, "nothing is gold"),
        ({"query": "where?", "files": "a.py"}, "`files`: Input should be a valid array"),
        ({"query": "where?", "files": ["/etc/passwd"]}, "from the top of the repository"),
        ({"query": "where?", "files": ["a/../../b.py"]}, "from the top of the repository"),
        ({"query": "where?", "files": [""]}, "from the top of the repository"),
        ({"query": "where?", "lines": [["../a.py", 1, 2]]}, "from the top of the repository"),
        ({"query": "where?", "lines": [["a.py", 5, 4]]}, "lines 5-4 of a.py"),
        ({"query": "where?", "lines": [["a.py", 0, 4]]}, "lines 0-4 of a.py"),
        ({"query": "where?", "lines": [["a.py", 1, 4, 0]]}, "the grade of a.py:1-4"),
        ({"query": "where?", "lines": [["a.py", "1", 4]]}, "`lines` must be a list of"),
        ({"query": "where?", "lines": [["a.py", 1]]}, "`lines` must be a list of"),
        ({"query": "where?", "lines": [["a.py", True, 4]]}, "`lines` must be a list of"),
        ({"query": "where?", "answer": ""}, "`answer` has no letter"),
        ({"query": "where?", "answer": "«»"}, "`answer` has no letter"),
        ({"query": "where?", "file": ["a.py"]}, "unknown key `file`; known are query, id, files"),
        ({**GOOD, "answerable": "no"}, "`answerable`: Input should be a valid boolean"),
        ({**GOOD, "answerable": False}, "`answerable` is false, but"),
        ({**GOOD, "id": [1]}, "`id`: "),
        ({**GOOD, "id": "1"}, "the id '1' is that of line 1"),
        ({"context": "where?", "continuation": 3}, "`continuation`: Input should be"),
        ({"context": "", "continuation": ""}, "the question is empty"),
        ("[" * 5_000, "not JSON"),
        ('{"query": "\\ud800", "files": ["a.py"]}', "not JSON"),
    ],
)
def test_a_bad_line_is_refused_with_its_number(
    tmp_path: Path, record: object, problem: str
) -> None:
    file = write(tmp_path, GOOD, "", record)
    with pytest.raises(QuestionSetError) as caught:
        read_questions(file)
    assert str(caught.value).startswith(f"{file}:3: ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("question,result1\na,b.py:1-2:1\n", ":1: neither JSONL nor a CSV"),
        ("query,files\na,b.py:1-2:1\n", ":1: neither JSONL nor a CSV"),
        ("just some words\n", ":1: neither JSONL nor a CSV"),
        ("query,result1\na,b.py:1-2:1,c.py:1-2:1\n", ":2: 3 columns, but the header has 2"),
        ("query,result1\na,b.py:1\n", ":2: 'b.py:1' is not path:start-end"),
        ("query,result1\na,b.py:9-2:1\n", ":2: lines 9-2 of b.py"),
        ("query,result1\na,b.py:1-2:0\n", ":2: the grade of b.py:1-2"),
        ("query,result1\na,/b.py:1-2:1\n", ":2: '/b.py' must be a path"),
        ("query,result1\na,\n", ":2: nothing is gold"),
        ("query,result1\n,b.py:1-2:1\n", ":2: the question is empty"),
        ('query,result1\n"a"b,b.py:1-2:1\n', ":2: not CSV"),
        ('query,result1\n"a,b.py:1-2:1\n', ":2: not CSV"),
    ],
)
def test_a_bad_row_is_refused_with_its_number(tmp_path: Path, rows: str, problem: str) -> None:
    file = tmp_path / "set.csv"
    file.write_text(rows)
    with pytest.raises(QuestionSetError) as caught:
        read_questions(file)
    assert f"{file}{problem}" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "query,result1\n", '{"query":"x","answerable":false}']
)
def test_a_set_without_an_answerable_question_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "set"
    file.write_text(text)
    with pytest.raises(QuestionSetError, match="holds no answerable question"):
        read_questions(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(QuestionSetError, match=r"none\.jsonl \(No such file or directory\)"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(QuestionSetError, match="Is a directory"):
        read_questions(tmp_path)
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes('{"query": "où?", "files": ["a.py"]}'.encode("latin-1"))
    with pytest.raises(QuestionSetError, match="is not UTF-8 text"):
        read_questions(latin)


def test_a_telling_answer_occurs_in_one_file_up_to_the_limit() -> None:
    ask = Question("1", "Which function takes tokens?", answer="take_tokens()")
    by_file = Question("2", "Where?", files=("a.py",))
    there, absent = "def take_tokens(n)", "def drop()"
    assert telling_questions([ask], [absent] * 9, max_files=5) == []
    assert telling_questions([ask, by_file], [there, absent], max_files=5) == [ask, by_file]
    assert telling_questions([ask], [there] * 5, max_files=5) == [ask]
    assert telling_questions([ask], [there] * 6, max_files=5) == []
