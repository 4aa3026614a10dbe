"""What a test tests: its name in words, and the function or class that its body calls.

Names are matched, nothing is resolved: only what is defined once outside the tests counts, and of
several the one whose name shares most words with the test's. A test that leaves it open gives
nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from data_tools.docstrings import Definition
from data_tools.sources import SourceFile
from data_tools.text import split_lines

MIN_WORDS = 4  # of a test's name; fewer name the thing and say nothing of it
MIN_SHARE = 0.6  # of the words of what is tested, which the test's name must hold

_TEST_NAME = re.compile(r"^(?:[tT]ests?_+|Test(?=[A-Z])|test(?=[A-Z])|it_|should_)")
_CALL = re.compile(r"\b([A-Za-z_]\w+)\s*(?:::<[^()<>]*>)?\(")
_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+(?:\d+[a-z]*)?|\d+[a-z]*")
_UNTELLING = frozenset(
    "a an and are as at be by can do does for from get has if in is it its no not of on or set "
    "should that the to when with works work test tests basic simple case ok error errors".split()
)


@dataclass(frozen=True)
class NamedTest:
    """A test whose name says something of the definition that it calls.

    :param query: its name in words, without "test".
    :param first_line: of the test itself, 1-based.
    :param tested: what it calls.
    """

    query: str
    first_line: int
    tested: Definition


def split_name(name: str) -> list[str]:
    """Split an identifier into its words, in lower case."""
    return [word.lower() for word in _WORD.findall(name)]


def find_tested(
    file: SourceFile, tests: Iterable[Definition], candidates: Mapping[str, Definition]
) -> Iterator[NamedTest]:
    """Find the tests of a file that tell what they test.

    :param tests: what `file` defines.
    :param candidates: name → definition, of what is defined once outside the tests.
    """
    lines = split_lines(file.text)
    for test in tests:
        words = split_name(_TEST_NAME.sub("", test.name))
        if test.is_type or not _TEST_NAME.match(test.name) or len(words) < MIN_WORDS:
            continue
        body = "".join(lines[test.start_line - 1 : test.end_line])
        called = dict.fromkeys(name for name in _CALL.findall(body) if name in candidates)
        shares = {name: _share(split_name(name), words) for name in called}
        best = max(shares.values(), default=(0.0, 0))
        chosen = [name for name, share in shares.items() if share == best]
        if best[0] >= MIN_SHARE and len(chosen) == 1 and _is_named_after(words, chosen[0]):
            yield NamedTest(" ".join(words), _name_line(lines, test), candidates[chosen[0]])


def _stems(words: Iterable[str]) -> set[str]:
    """Return the telling words, plurals regardless."""
    return {word.rstrip("s") for word in words if word not in _UNTELLING}


def _share(name: list[str], words: list[str]) -> tuple[float, int]:
    """Rate how much of a name a test's name holds: as a share of its words, and in words."""
    stems = _stems(name)
    shared = stems & _stems(words)
    return len(shared) / max(len(stems), 1), len(shared)


def _is_named_after(words: list[str], name: str) -> bool:
    """Tell whether a test's name says more than that of what it tests, and names it clearly.

    One telling word alone may be there by chance: the name must then come first, and whole.
    """
    parts = split_name(name)
    says_more = bool(_stems(words) - _stems(parts))
    comes_first = " ".join(words).startswith(" ".join(parts))
    return says_more and (comes_first or len(_stems(parts) & _stems(words)) > 1)


def _name_line(lines: list[str], test: Definition) -> int:
    """Find the line that holds the test's name, below its decorators."""
    span = range(test.start_line, test.end_line + 1)
    return next((at for at in span if test.name in lines[at - 1]), test.start_line)
