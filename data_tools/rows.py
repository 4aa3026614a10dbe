"""Rows of JSONL, and CoQA's conversations, as documents.

A row is one document: a prompt and its response, a context and its continuation, a conversation
about a story, or plain text. A row of any other form is refused with its number. Files of lines
(`.jsonl`) are read by byte offset, one row at a time; CoQA's published file (`.json`) is one JSON
value and is held while it is read.

Source of the conversations' form: Reddy, Chen & Manning, TACL 2019, doi:10.1162/tacl_a_00266.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_tools.dataset import DatasetSource
from data_tools.documents import Document
from data_tools.errors import DatasetError

FORMS = (
    "`prompt` and `response`, `context` and `continuation`, `text`, or `story`, `questions` and "
    "`answers`"
)


def list_rows(file: Path) -> tuple[DatasetSource, Iterator[Document]]:
    """List the rows of a file.

    :raises DatasetError: there is no such file; while rows are read, one is of no known form.
    """
    if not file.is_file():
        raise DatasetError(f"there is no file {file}; give JSONL files, or CoQA's JSON")
    source = DatasetSource(repo=file.stem, location=str(file), files=0)
    published = file.suffix == ".json"
    return source, _list_conversations(file) if published else _list_lines(file)


def read_row(document: Document) -> str:
    """Read one row as text.

    :raises DatasetError: the row is of no known form, or the file is gone.
    """
    file = Path(document.location)
    if document.form == "coqa":
        row = _conversations(str(file))[document.start]
    else:
        with _opened(file) as stream:
            stream.seek(document.start)
            row = _parse(stream.read(document.size), _place(document))
    return _render(row, _place(document))


def _place(document: Document) -> str:
    return f"{document.location}:{document.path.rpartition('#')[2]}"


def _opened(file: Path) -> Any:  # noqa: ANN401 - typeshed has five types for it
    try:
        return file.open("rb")
    except OSError as error:
        raise DatasetError(f"cannot read {file} ({error.strerror}); check its name") from error


def _list_lines(file: Path) -> Iterator[Document]:
    start = 0
    with _opened(file) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                path, place = f"{file.name}#{number}", str(file)
                yield Document(file.stem, path, "jsonl", place, start=start, size=len(line))
            start += len(line)


def _list_conversations(file: Path) -> Iterator[Document]:
    for number in range(len(_conversations(str(file)))):
        path = f"{file.name}#{number + 1}"
        yield Document(file.stem, path, "coqa", str(file), start=number)


@functools.lru_cache(maxsize=1)
def _conversations(file: str) -> list[dict[str, Any]]:
    with _opened(Path(file)) as stream:
        data = stream.read()
    try:
        rows = json.loads(data)["data"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{file} is not CoQA's JSON, an object with `data`; if it has a row a line, "
            "call it .jsonl"
        ) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DatasetError(f"`data` of {file} is no list of objects; CoQA's JSON has one")
    return rows


def _parse(data: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{place}: not a line of JSON; write one object a line") from error
    if not isinstance(row, dict):
        raise DatasetError(f"{place}: not a JSON object; it needs {FORMS}")
    return row


def _render(row: Mapping[str, Any], place: str) -> str:
    """Write a row as the text that a model learns to continue."""
    for first, second, between in (("prompt", "response", "\n"), ("context", "continuation", " ")):
        if first in row and second in row:
            before, after = _text(row, first, place), _text(row, second, place)
            apart = before[-1:].isspace() or after[:1].isspace() or not before or not after
            return f"{before}{'' if apart else between}{after}"
    if {"story", "questions", "answers"} <= set(row):
        questions, answers = (_turns(row, key, place) for key in ("questions", "answers"))
        if len(questions) != len(answers):
            raise DatasetError(f"{place}: {len(questions)} questions, but {len(answers)} answers")
        lines = "".join(
            f"\n\nQ: {question}\nA: {answer}"
            for question, answer in zip(questions, answers, strict=True)
        )
        return f"{_text(row, 'story', place).strip()}{lines}\n"
    if "text" in row:
        return _text(row, "text", place)
    raise DatasetError(f"{place}: it needs {FORMS}")


def _text(row: Mapping[str, Any], key: str, place: str) -> str:
    if not isinstance(row[key], str):
        raise DatasetError(f"{place}: `{key}` is not text")
    return str(row[key])


def _turns(row: Mapping[str, Any], key: str, place: str) -> list[str]:
    """Read questions or answers, written as texts, as objects, or as an object of lists."""
    turns = row[key]
    if isinstance(turns, dict):
        turns = turns.get("input_text")
    if isinstance(turns, list):
        turns = [turn.get("input_text") if isinstance(turn, dict) else turn for turn in turns]
        if all(isinstance(turn, str) for turn in turns):
            return turns
    raise DatasetError(f"{place}: `{key}` is no list of texts, nor of objects with `input_text`")
