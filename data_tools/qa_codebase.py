"""What question-answer pairs are mined from, and what they are.

`Codebase` holds a repository's files with their lines and definitions, read once for all kinds
of pairs. Evidence is lines of a file at the commit that was read; every name that an answer puts
in backticks stands there. The reason for a change is no line of a file: its evidence is lines of
the commit's message, under the path `MESSAGE_PATH`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from data_tools.docstrings import Definition, find_definitions
from data_tools.languages import BY_NAME, Kind
from data_tools.pairs import is_test
from data_tools.progress import Progress, ReportProgress
from data_tools.sources import Snapshot, SourceFile
from data_tools.text import split_lines

MESSAGE_PATH = "(commit message)"  # no file can be so called by a snapshot's own naming
MAX_NAMED = 6  # things that one answer lists; a question with more is left out

_PLAIN_SYMBOL = re.compile(r"[\w$]+(?:(?:\.|::)[\w$]+)*")
_CONSTRUCTOR = re.compile(r"\.(?:__init__|__new__|constructor)`")
_CODE_SPAN = re.compile(r"```.*?(?:```|\Z)|`([^`\n]+)`", re.DOTALL)


@dataclass(frozen=True)
class Evidence:
    """Lines that an answer is taken from.

    :param commit: that of the snapshot, or for `MESSAGE_PATH` the commit that has the message.
    :param start_line: 1-based.
    :param end_line: inclusive.
    """

    repo: str
    commit: str
    path: str
    start_line: int
    end_line: int


@dataclass(frozen=True)
class QAPair:
    """A question, its answer, and the lines that the answer is taken from.

    :param kind: one of `data_tools.qa_pairs.KINDS`, or `written` if a model wrote it.
    :param evidence: empty for what the repository does not hold.
    :param split: `train`, `validation` or `test`; "" until it is dealt.
    """

    kind: str
    question: str
    answer: str
    evidence: tuple[Evidence, ...]
    split: str = ""

    @property
    def id(self) -> str:
        """Name it by what it says, so that it has the same id in every run."""
        said = (self.kind, self.question, self.answer, *map(repr, self.evidence))
        digest = hashlib.sha256("\0".join(said).encode("utf-8", "replace")).hexdigest()
        return f"{self.kind}-{digest[:16]}"

    def record(self) -> dict[str, Any]:
        """Return its line of a dataset."""
        return {
            "id": self.id,
            "kind": self.kind,
            "question": self.question,
            "answer": self.answer,
            "evidence": [vars(each) for each in self.evidence],
            "split": self.split,
        }


def read_pair(record: dict[str, Any]) -> QAPair:
    """Read a pair back from what `QAPair.record` gave.

    :raises KeyError: a field is missing.
    :raises TypeError: a field of the evidence is missing or unknown.
    """
    evidence = tuple(Evidence(**each) for each in record["evidence"])
    return QAPair(record["kind"], record["question"], record["answer"], evidence, record["split"])


def code_spans(text: str) -> list[str]:
    """List what stands in single backticks, code blocks left out."""
    return [match[1] for match in _CODE_SPAN.finditer(text) if match[1]]


@dataclass(frozen=True)
class Codebase:
    """A repository's text files, with what they define.

    :param files: notebooks among them, whose lines are nobody's evidence: they are not the file's.
    """

    snapshot: Snapshot
    files: tuple[SourceFile, ...]
    lines: dict[str, list[str]]
    definitions: dict[str, list[Definition]]

    @property
    def name(self) -> str:
        """Return the repository's name."""
        return self.snapshot.repository.name

    @cached_property
    def outside_tests(self) -> list[Definition]:
        """List what is defined outside the tests, in the order of files and lines."""
        return [
            each for each in chain.from_iterable(self.definitions.values()) if not is_test(each)
        ]

    @cached_property
    def _symbols(self) -> Counter[str]:
        return Counter(each.symbol for each in self.outside_tests)

    @cached_property
    def _symbols_of_files(self) -> Counter[tuple[str, str]]:
        return Counter((each.path, each.symbol) for each in self.outside_tests)

    @cached_property
    def names(self) -> Counter[str]:
        """Count how often each name is defined outside the tests, whatever holds it."""
        return Counter(each.name for each in self.outside_tests)

    def title(self, definition: Definition) -> str | None:
        """Name a definition so that no other is meant: "`Trainer.fit`", "`main` in `run.py`".

        :return: None if its file defines several of that name, or it is no plain name.
        """
        if not _PLAIN_SYMBOL.fullmatch(definition.symbol):
            return None
        if self._symbols_of_files[definition.path, definition.symbol] != 1:
            return None
        if self._symbols[definition.symbol] == 1:
            return f"`{definition.symbol}`"
        return f"`{definition.symbol}` in `{definition.path}`"

    def evidence(self, path: str, *spans: tuple[int, int]) -> tuple[Evidence, ...]:
        """Point to spans of lines of a file, 1-based and inclusive; those that touch become one."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(spans):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        commit = self.snapshot.repository.commit
        return tuple(Evidence(self.name, commit, path, first, last) for first, last in merged)

    def text(self, path: str, first: int, last: int) -> str:
        """Return lines of a file, 1-based and inclusive."""
        return "".join(self.lines[path][first - 1 : last])

    def name_line(self, definition: Definition) -> int:
        """Find the line that says what a definition is called, below its decorators."""
        span = range(definition.start_line, definition.end_line + 1)
        lines = self.lines[definition.path]
        name = re.compile(rf"(?<!\w){re.escape(definition.name)}(?!\w)")
        first = (at for at in span if not lines[at - 1].lstrip().startswith("@"))
        return next((at for at in first if name.search(lines[at - 1])), definition.start_line)


def chance(seed: int, key: str) -> float:
    """Return a number in [0, 1) that is always the same for a seed and key."""
    digest = hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:6]) / 2**48


def is_test_path(path: str) -> bool:
    """Tell whether a file belongs to the tests, by its path."""
    return is_test(Definition(path, "", "", "", 1, 1))


def read_codebase(snapshot: Snapshot, report: ReportProgress) -> Codebase:
    """Read a repository and find what its code defines.

    :raises SourceError: it cannot be read.
    """
    files = []
    for file in snapshot.files():
        if isinstance(file, SourceFile):
            files.append(_plain(file))
            report(Progress("read", len(files)))
    code = [file for file in files if BY_NAME[file.language].kind is Kind.CODE]
    lines = {file.path: split_lines(file.text) for file in files}
    return Codebase(
        snapshot, tuple(files), lines, {file.path: find_definitions(file) for file in code}
    )


def _plain(file: SourceFile) -> SourceFile:
    """Leave out what cannot be written as UTF-8: halves of surrogate pairs."""
    return replace(file, text=file.text.encode("utf-8", "replace").decode("utf-8"))


def owner_of(title: str) -> str:
    """Name the class that a constructor makes objects of; any other title stays."""
    return _CONSTRUCTOR.sub("`", title)


def join_names(names: Sequence[str]) -> str:
    """Write a list as a sentence has it: "a, b and c"."""
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def code(text: str) -> str:
    """Put code into backticks, its white space as single blanks."""
    plain = " ".join(text.split())
    return f"`` {plain} ``" if "`" in plain else f"`{plain}`"


def in_files(places: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Write (name, path) each as "`name` in `path`"; names of one file share its mention."""
    by_path: dict[str, list[str]] = {}
    for name, path in places:
        by_path.setdefault(path, []).append(name)
    for path, names in by_path.items():
        yield f"{join_names(list(dict.fromkeys(names)))} in `{path}`"
