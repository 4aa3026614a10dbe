"""Texts on which a regular expression is slow, made from the expression itself.

Backtracking is slow where a repeat can give characters back and what follows fails all the same.
So for each repeat of a pattern: what leads to it, then what it repeats, many times, then something
that fits nothing. The patterns are those of the product: at the level of modules, and in calls.
"""

import ast
import importlib
import re
import re._constants as codes  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENDINGS = ("\x00", "!", " ", "\nx", "")
UNBOUNDED = 50  # a repeat up to fewer times than this cannot do much
_CATEGORIES = {
    codes.CATEGORY_DIGIT: "1",
    codes.CATEGORY_NOT_DIGIT: "a",
    codes.CATEGORY_SPACE: " \n",
    codes.CATEGORY_NOT_SPACE: "a.",
    codes.CATEGORY_WORD: "aA1_",
    codes.CATEGORY_NOT_WORD: "! ",
}
Nodes = Any  # what `re` parses a pattern into


@dataclass(frozen=True)
class Attack:
    """A text that grows with the number of characters asked for."""

    prefix: str
    pump: str
    ending: str

    def text(self, characters: int) -> str:
        """Return a text of about so many characters."""
        return self.prefix + self.pump * (characters // len(self.pump)) + self.ending


def find_patterns(*packages: str) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield the regular expressions of packages, each once, by a name that leads to it."""
    seen = set()
    for file in sorted(file for package in packages for file in (ROOT / package).glob("*.py")):
        for place, pattern in _patterns_of(f"{file.parent.name}.{file.stem}", file):
            if (pattern.pattern, pattern.flags) not in seen:
                seen.add((pattern.pattern, pattern.flags))
                yield place, pattern


def _patterns_of(module: str, file: Path) -> Iterator[tuple[str, re.Pattern[str]]]:
    for name, value in vars(importlib.import_module(module)).items():
        if isinstance(value, re.Pattern):
            yield f"{module}.{name}", _as_text(value)
    calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    for node in calls:
        function, first = node.func, node.args[0] if node.args else None
        if (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and (function.value.id, function.attr == "compile") == ("re", False)
            and isinstance(first, ast.Constant)
            and isinstance(first.value, str)
        ):
            given = [ast.unparse(each.value) for each in node.keywords if each.arg == "flags"]
            flags = eval(given[0], {"re": re}) if given else 0  # such as re.MULTILINE
            yield f"{module}: {first.value}", re.compile(first.value, flags)


def _as_text(pattern: re.Pattern[Any]) -> re.Pattern[str]:
    if isinstance(pattern.pattern, str):
        return pattern
    return re.compile(pattern.pattern.decode("latin-1"), pattern.flags | re.ASCII)


def make_attacks(pattern: re.Pattern[str]) -> list[Attack]:
    """Make the texts that may be slow, each once."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    attacks: dict[Attack, None] = {}
    for prefixes, pumps in _repeats(tree, [""]):
        longer = [prefix + pump for prefix in prefixes[:3] for pump in pumps[:3]]
        for prefix in prefixes[:3]:
            for pump in dict.fromkeys([*pumps, *longer]):
                if pump:
                    attacks |= dict.fromkeys(Attack(prefix, pump, end) for end in ENDINGS)
    for example in _examples(tree)[:4]:  # beginnings of a match, over and over
        for length in range(1, min(len(example), 12) + 1):
            attacks[Attack("", example[:length], "\x00")] = None
    return list(attacks)


def _repeats(tree: Nodes, prefixes: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield, of each repeat, what leads to it and what it repeats."""
    for code, value in tree:
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            if value[1] >= UNBOUNDED:
                yield prefixes, _examples(value[2])[:4]
            yield from _repeats(value[2], prefixes)
        elif code is codes.BRANCH:
            for branch in value[1]:
                yield from _repeats(branch, prefixes)
        elif code is codes.SUBPATTERN:
            yield from _repeats(value[3], prefixes)
        elif code is codes.ATOMIC_GROUP:
            yield from _repeats(value, prefixes)
        some = _examples_of(code, value)[:3]
        prefixes = [prefix + each for prefix in prefixes[:3] for each in some][:6]


def _examples(tree: Nodes) -> list[str]:
    """Some texts that a pattern matches."""
    texts = [""]
    for code, value in tree:
        some = _examples_of(code, value)[:5]
        texts = [text + each for text in texts[:5] for each in some][:15]
    return texts


def _examples_of(code: object, value: Nodes) -> list[str]:
    if code is codes.LITERAL:
        return [chr(value)]
    if code is codes.NOT_LITERAL:
        return [letter for letter in "a 1." if ord(letter) != value]
    if code is codes.ANY:
        return list("a .1-")
    if code is codes.IN:
        return list(_members(value))[:8] or ["a"]
    if code is codes.BRANCH:
        return [text for branch in value[1] for text in _examples(branch)[:2]]
    if code is codes.SUBPATTERN:
        return _examples(value[3])[:3]
    if code is codes.ATOMIC_GROUP:
        return _examples(value)[:3]
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        least = min(max(value[0], 1), 100)
        none = [""] if value[0] == 0 else []
        return [text * least for text in _examples(value[2])[:3]] + none
    return [""]  # places and look-arounds


def _members(items: Nodes) -> Iterator[str]:
    """Some characters of a set."""
    if items[0][0] is codes.NEGATE:
        others = {letter for item in items[1:] for letter in _letters(item)}
        yield from (letter for letter in "a A1.-_/[(`*\"'\n" if letter not in others)
    else:
        for item in items:
            yield from _letters(item)


def _letters(item: tuple[object, Any]) -> Sequence[str]:
    code, value = item
    if code is codes.LITERAL:
        return chr(value)
    if code is codes.RANGE:
        return chr(value[0]) + chr(value[1])
    return _CATEGORIES.get(value, "")


def time_search(pattern: re.Pattern[str], text: str) -> float:
    """Return how long it takes to find all that a pattern matches, in seconds; the best of two."""
    times = []
    for _ in range(2):
        started = time.perf_counter()
        for _match in islice(pattern.finditer(text), len(text) + 1):
            pass
        times.append(time.perf_counter() - started)
        if times[-1] < 0.005:
            break
    return min(times)
