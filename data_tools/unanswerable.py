"""Questions about things that a repository does not hold, in its own words.

Only names are asked about, since a task put in plain words might be done after all. One is put
together from parts of its identifiers, as `CheckpointRouter` of `CheckpointSaver`
and `RequestRouter`; only one that occurs nowhere, in whatever spelling, is asked about. So a
search finds related lines, and none that answer.
"""

import random
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from data_tools.docstrings import Definition
from data_tools.tested import split_name

MIN_WORD_CHARS = 4
TRIES = 50  # for each question, to put an absent name together
MAX_NAME_WORDS = 3

_NAME = re.compile(r"[A-Za-z]\w*")
_TYPE_QUESTIONS = (
    "How does `{name}` work?",
    "What does `{name}` do?",
    "Which class is a {words}?",
    "Where is `{name}` registered?",
    "When is `{name}` used?",
)
_FUNCTION_QUESTIONS = (
    "What does `{name}` return?",
    "Who calls `{name}`?",
    "Where is `{name}` defined?",
    "When is `{name}` called?",
    "Which arguments does `{name}` take?",
)


def ask_absent(
    definitions: Sequence[Definition], texts: Iterable[str], chooser: random.Random
) -> Iterator[str]:
    """Ask about things that are not there, each question once, until no more are found.

    :param definitions: whose names give the parts.
    :param texts: all files of the repository: what occurs in one is not asked about.
    :param chooser: seeded by the caller.
    """
    known = squeeze("\n".join(texts))
    types = _parts_of(each.name for each in definitions if each.is_type)
    functions = _parts_of(each.name for each in definitions if not each.is_type)
    asked: set[str] = set()
    kinds = deque(
        (parts, is_type) for parts, is_type in ((types, True), (functions, False)) if parts
    )
    while kinds:
        parts, is_type = kinds.popleft()
        tried = (_recombine(parts, chooser) for _ in range(TRIES))
        absent = (words for words in tried if "".join(words) not in asked)
        words = next((words for words in absent if "".join(words) not in known), None)
        if words is None:
            continue
        kinds.append((parts, is_type))
        asked.add("".join(words))
        name = "".join(word.capitalize() for word in words) if is_type else "_".join(words)
        question = chooser.choice(_TYPE_QUESTIONS if is_type else _FUNCTION_QUESTIONS)
        asked_for = question.format(name=name, words=" ".join(words))
        yield re.sub(r"\ba (?=[aeio])", "an ", asked_for)


def _recombine(parts: Sequence[Sequence[str]], chooser: random.Random) -> list[str]:
    """Put the end of one name on the beginning of another."""
    words = [*chooser.choice(parts)[:-1], chooser.choice(parts)[-1]]
    return list(dict.fromkeys(words))


def squeeze(text: str) -> str:
    """Leave letters and digits alone, in lower case, so that spellings of a name are equal."""
    return re.sub(r"[\W_]+", "", text.lower())


def _parts_of(names: Iterable[str]) -> list[list[str]]:
    """Split names of several plain words into these, in a fixed order."""
    split = {tuple(split_name(name)) for name in names if _NAME.fullmatch(name)}
    return sorted(
        list(words)
        for words in split
        if 2 <= len(words) <= MAX_NAME_WORDS
        and all(word.isalpha() for word in words)
        and min(len(word) for word in words) >= MIN_WORD_CHARS
    )
