"""Question sets: what is asked, and where the answer stands.

Read from JSONL of our own form, JSONL of `context` and `continuation` (the name that answers),
or CSV of `query` and results written `path:start-end:grade`; see `docs/questions.md`. A file
with one bad line is refused whole: a figure over the rest would be of another set.
"""

import contextlib
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

from data_tools.errors import QuestionError, QuestionSetError
from data_tools.text import split_lines
from retrieval.metrics import normalize
from retrieval.search import check_question

_RESULT = re.compile(r"(.+):([0-9]{1,9})-([0-9]{1,9})(?::([0-9]{1,9}))?")
_RESULT_COLUMN = re.compile(r"result[0-9]+")


@dataclass(frozen=True)
class GoldLines:
    """Lines that answer a question; 1-based, inclusive.

    :param grade: how well they do, at least 1; 1 where a set tells no grades.
    """

    path: str
    start_line: int
    end_line: int
    grade: int = 1


@dataclass(frozen=True)
class Question:
    """A question, and where its answer stands.

    :param files: paths that answer it, those of `lines` among them.
    :param answer: a name that a passage which answers must hold, or None.
    :param answerable: False if the repository does not hold the answer: nothing is gold then.
    :param kind: what sort of question it is, for looking into results.
    :param line_number: where it stands in its file, 1-based; 0 if it was made from Python.
    """

    id: str
    query: str
    files: tuple[str, ...] = ()
    lines: tuple[GoldLines, ...] = ()
    answer: str | None = None
    answerable: bool = True
    kind: str | None = None
    line_number: int = field(default=0, compare=False)


class _Record(BaseModel):
    """A line of JSONL in our own form."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str
    id: str | int | None = None
    files: list[str] = []
    lines: Sequence[tuple[str, int, int] | tuple[str, int, int, int]] = ()
    answer: str | None = None
    answerable: bool = True
    kind: str | None = None


class _AnswerRecord(BaseModel):
    """A line of JSONL of a question and the name that answers it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    context: str
    continuation: str


def read_questions(file: Path) -> list[Question]:
    """Read a question set; its form is told from what is in it.

    :raises QuestionSetError: the file cannot be read, holds no answerable question, or a line
        of it is not what it should be; the message names file and line.
    """
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise QuestionSetError(f"cannot read {file} ({error.strerror}); check its name") from error
    except UnicodeDecodeError as error:
        raise QuestionSetError(f"{file} is not UTF-8 text; save it as that") from error
    read = _read_jsonl if text.lstrip().startswith("{") else _read_csv
    questions: dict[str, Question] = {}
    for question in read(text, file):
        first = questions.setdefault(question.id, question)
        if first is not question:
            raise QuestionSetError(
                f"{file}:{question.line_number}: the id {question.id!r} is that of line "
                f"{first.line_number}; give each question its own"
            )
    if not any(question.answerable for question in questions.values()):
        raise QuestionSetError(f"{file} holds no answerable question; see docs/questions.md")
    return list(questions.values())


@contextlib.contextmanager
def _naming(file: Path, number: int) -> Iterator[None]:
    """Put file and line before what is wrong with a line."""
    try:
        yield
    except (ValueError, QuestionError) as error:
        reason = _describe(error) if isinstance(error, ValidationError) else str(error)
        raise QuestionSetError(f"{file}:{number}: {reason}") from error


def _describe(error: ValidationError) -> str:
    """Say what is wrong first, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return f"not JSON ({first['ctx']['error']})"
    key = first["loc"][0] if first["loc"] else ""
    if key == "lines":
        return "`lines` must be a list of [path, start, end] or [path, start, end, grade]"
    if first["type"] == "extra_forbidden":
        return f"unknown key `{key}`; known are {', '.join(_Record.model_fields)}"
    return f"`{key}`: {first['msg']}" if key else first["msg"]


def _read_jsonl(text: str, file: Path) -> Iterator[Question]:
    for number, line in enumerate(split_lines(text), start=1):
        if not line.strip():
            continue
        with _naming(file, number):
            if '"continuation"' in line and '"query"' not in line:
                question = _make_answer_question(_AnswerRecord.model_validate_json(line), number)
            else:
                question = _make_question(_Record.model_validate_json(line), number)
        yield question


def _read_csv(text: str, file: Path) -> Iterator[Question]:
    """Read rows of a query and some results; the first row names the columns."""
    rows = csv.reader(io.StringIO(text), strict=True)
    header: list[str] = []
    try:
        for row in filter(None, rows):
            if not header:
                header = row
                if header[0] != "query" or not all(map(_RESULT_COLUMN.fullmatch, header[1:])):
                    raise QuestionSetError(
                        f"{file}:{rows.line_num}: neither JSONL nor a CSV of "
                        "query,result1,result2…; see docs/questions.md"
                    )
                continue
            with _naming(file, rows.line_num):
                if len(row) != len(header):
                    raise ValueError(f"{len(row)} columns, but the header has {len(header)}")
                lines = [_parse_result(cell) for cell in row[1:] if cell]
                question = _make_question(_Record(query=row[0], lines=lines), rows.line_num)
            yield question
    except csv.Error as error:
        raise QuestionSetError(f"{file}:{rows.line_num}: not CSV ({error})") from error


def _parse_result(cell: str) -> tuple[str, int, int, int]:
    match = _RESULT.fullmatch(cell.strip())
    if not match:
        raise ValueError(f"{cell!r} is not path:start-end or path:start-end:grade")
    path, start, end, grade = match.groups(default="1")
    return path, int(start), int(end), int(grade)


def _make_question(record: _Record, number: int) -> Question:
    """Check what the types cannot say.

    :raises ValueError: paths, lines, answer or what is missing.
    :raises QuestionError: the query cannot be searched for.
    """
    lines = tuple(dict.fromkeys(_make_lines(*values) for values in record.lines))
    files = dict.fromkeys([*map(_clean_path, record.files), *(span.path for span in lines)])
    has_gold = bool(files) or record.answer is not None
    if record.answerable and not has_gold:
        raise ValueError('nothing is gold: give files, lines or answer, or "answerable": false')
    if has_gold and not record.answerable:
        raise ValueError("`answerable` is false, but there are files, lines or an answer")
    if record.answer is not None and not normalize(record.answer):
        raise ValueError("`answer` has no letter a-z, digit or underscore: it cannot be looked for")
    return Question(
        id=str(number if record.id is None else record.id),
        query=check_question(record.query),
        files=tuple(files),
        lines=lines,
        answer=record.answer,
        answerable=record.answerable,
        kind=record.kind,
        line_number=number,
    )


def _make_answer_question(record: _AnswerRecord, number: int) -> Question:
    """Keep a question whose answer the set leaves empty: it is measured on nothing."""
    if not record.continuation.strip():
        return Question(str(number), check_question(record.context), line_number=number)
    return _make_question(_Record(query=record.context, answer=record.continuation), number)


def _make_lines(path: str, start_line: int, end_line: int, grade: int = 1) -> GoldLines:
    if not 1 <= start_line <= end_line:
        raise ValueError(f"lines {start_line}-{end_line} of {path}: they count from 1 upwards")
    if grade < 1:
        raise ValueError(f"the grade of {path}:{start_line}-{end_line} must be at least 1")
    return GoldLines(_clean_path(path), start_line, end_line, grade)


def _clean_path(path: str) -> str:
    """Write a path as an index does."""
    clean = PurePosixPath(path)
    if clean.is_absolute() or ".." in clean.parts or not clean.parts:
        raise ValueError(f"{path!r} must be a path from the top of the repository, as src/a.py")
    return str(clean)


def telling_questions(
    questions: Sequence[Question], texts: Iterable[str], *, max_files: int
) -> list[Question]:
    """Leave out questions whose answer stands in no file, or in so many that chance finds it.

    :param texts: one text a file.
    :param max_files: how many files may hold an answer. Questions without an answer stay.
    """
    files = [normalize(text) for text in texts]
    return [
        question
        for question in questions
        if question.answer is None
        or 1 <= sum(normalize(question.answer) in file for file in files) <= max_files
    ]
