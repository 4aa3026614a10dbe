"""Questions mined from a repository, each with the lines that answer it.

Five kinds, of which every repository has some: the first sentence of a docstring, that sentence
made a question, a heading of the documentation, the subject of a commit, the name of a test. They
measure a retriever and train one. No model writes them, and nothing is run: the same snapshot
gives the same pairs in the same order. A query that several definitions share is left out, as no
one place answers it; only a commit's subject may have several (`MAX_CHANGED`).
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from data_tools.docstrings import Definition, find_definitions
from data_tools.languages import BY_NAME, Kind
from data_tools.rewrites import ask_docstring
from data_tools.sections import find_sections
from data_tools.sentences import first_sentence
from data_tools.sources import Snapshot, SourceFile
from data_tools.tested import find_tested
from data_tools.text import split_lines

KINDS = ("docstring", "rewrite", "heading", "commit", "test")
COMMITS = 500  # the newest ones; older subjects speak of code that is gone
MAX_CHANGED = 3  # definitions; the subject of a commit that changed more describes none of them

_TEST_PATH = re.compile(
    r"(^|/)(tests?|testing|specs?|__tests__|testdata|fixtures)/|(^|/)(test_|conftest\.)|"
    r"[._-]tests?\.|\.spec\.",
    re.I,
)
_TEST_SYMBOL = re.compile(r"(^|[._])tests?[.:]|(^|[.:])test_")


@dataclass(frozen=True)
class Pair:
    """A question and the lines that answer it.

    :param query: what a person might ask or type.
    :param kind: one of `KINDS`.
    :param start_line: first line of the definition or section, 1-based.
    :param end_line: last line of it, inclusive.
    :param symbol: what is defined there, or the outline down to the section.
    :param masked_lines: spans of `path`, 1-based and inclusive, that hold the query word for
        word: to be blanked by `mask_lines` before a retriever is measured or trained on it.
    :param origin: (path, first line, last line) of the query where that is another file.
    """

    query: str
    kind: str
    repo: str
    path: str
    start_line: int
    end_line: int
    symbol: str
    masked_lines: tuple[tuple[int, int], ...] = ()
    origin: tuple[str, int, int] | None = None


def mine_pairs(
    snapshot: Snapshot, *, kinds: Collection[str] = KINDS, limit_commits: int = COMMITS
) -> Iterator[Pair]:
    """Mine pairs from a repository, by kind and then in the order of its files.

    :param kinds: which of `KINDS`.
    :param limit_commits: how many commits are looked at, newest first; 0 for none. A shallow
        clone has fewer, a plain folder none.
    :raises ValueError: a kind is not one of `KINDS`.
    :raises SourceError: the repository cannot be read.
    """
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise ValueError(f"unknown kind {unknown[0]!r}; choose from {', '.join(KINDS)}")
    files = [file for file in snapshot.files() if isinstance(file, SourceFile)]
    definitions = {file.path: find_definitions(file) for file in files if _is_code(file)}
    repo = snapshot.repository.name
    if "docstring" in kinds:
        yield from _without_duplicates(_mine_docstrings(repo, definitions, rewrite=False))
    if "rewrite" in kinds:
        yield from _without_duplicates(_mine_docstrings(repo, definitions, rewrite=True))
    if "heading" in kinds:
        yield from _without_duplicates(_mine_headings(repo, files))
    if "commit" in kinds:
        yield from _mine_commits(snapshot, definitions, limit_commits)
    if "test" in kinds:
        yield from _without_duplicates(_mine_tests(repo, files, definitions))


def is_test(definition: Definition) -> bool:
    """Tell whether a definition belongs to the tests, by its path and name."""
    return bool(_TEST_PATH.search(definition.path) or _TEST_SYMBOL.search(definition.symbol))


def _is_code(file: SourceFile) -> bool:
    return BY_NAME[file.language].kind is Kind.CODE


def _without_duplicates(pairs: Iterable[Pair]) -> list[Pair]:
    """Leave out queries that more than one place answers."""
    found = list(pairs)
    count = Counter(pair.query.lower() for pair in found)
    return [pair for pair in found if count[pair.query.lower()] == 1]


def _mine_docstrings(
    repo: str, definitions: dict[str, list[Definition]], *, rewrite: bool
) -> Iterator[Pair]:
    for each in chain.from_iterable(definitions.values()):
        if is_test(each) or not each.docstring:
            continue
        sentence = first_sentence(_without_name(each))
        query = ask_docstring(sentence, noun=each.noun) if sentence and rewrite else sentence
        if query:
            yield _pair(query, "rewrite" if rewrite else "docstring", repo, each)


def _without_name(definition: Definition) -> str:
    """Leave out the name that the docstrings of some languages begin with: "Open opens …"."""
    first, _, rest = definition.docstring.partition(" ")
    if first != definition.name:
        return definition.docstring
    rest = rest.removeprefix("is ").removeprefix("are ")
    return rest[:1].upper() + rest[1:]


def _pair(
    query: str,
    kind: str,
    repo: str,
    definition: Definition,
    origin: tuple[str, int, int] | None = None,
) -> Pair:
    """Ask for a definition; its docstring is masked whatever the query was made from."""
    masked = (definition.docstring_lines,) if definition.docstring else ()
    return Pair(
        query,
        kind,
        repo,
        definition.path,
        definition.start_line,
        definition.end_line,
        definition.symbol,
        masked if kind in ("docstring", "rewrite") else (),
        origin,
    )


def _mine_headings(repo: str, files: Iterable[SourceFile]) -> Iterator[Pair]:
    for file in files:
        if BY_NAME[file.language].kind is not Kind.PROSE or _TEST_PATH.search(file.path):
            continue
        for section in find_sections(file):
            yield Pair(
                section.query,
                "heading",
                repo,
                file.path,
                section.start_line,
                section.end_line,
                section.outline,
                (section.masked_lines,),
            )


def _mine_commits(
    snapshot: Snapshot, definitions: dict[str, list[Definition]], limit: int
) -> Iterator[Pair]:
    from data_tools.snapshot import GitSnapshot

    if limit < 1 or not isinstance(snapshot, GitSnapshot):
        return
    from data_tools.history import find_changes

    for change in find_changes(snapshot, definitions, limit=limit):
        changed = [each for each in change.definitions if not is_test(each)]
        if len(changed) <= MAX_CHANGED:
            for each in changed:
                yield _pair(change.subject, "commit", snapshot.repository.name, each)


def _mine_tests(
    repo: str, files: Iterable[SourceFile], definitions: dict[str, list[Definition]]
) -> Iterator[Pair]:
    outside = [each for each in chain.from_iterable(definitions.values()) if not is_test(each)]
    count = Counter(each.name for each in outside)
    candidates = {each.name: each for each in outside if count[each.name] == 1}
    for file in files:
        tests = [each for each in definitions.get(file.path, ()) if is_test(each)]
        for test in find_tested(file, tests, candidates):
            lines = (file.path, test.first_line, test.first_line)
            yield _pair(test.query, "test", repo, test.tested, lines)


def mask_lines(text: str, masked: Iterable[tuple[int, int]]) -> str:
    """Blank spans of lines, so that all others keep their numbers.

    :param masked: (first, last) each, 1-based and inclusive; what lies outside is ignored.
    """
    lines = split_lines(text)
    for first, last in masked:
        for at in range(max(first, 1) - 1, min(last, len(lines))):
            lines[at] = "\n" if lines[at].endswith("\n") else ""
    return "".join(lines)
