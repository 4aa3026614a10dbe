"""What parameters mean, as far as Python's docstrings say so.

Two forms are read: reStructuredText's `:param name: …`, and Google's entries below `Args:`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data_tools.qa_codebase import Codebase, QAPair, owner_of
from data_tools.sentences import ends_open, strip_markup

MIN_WORDS = 4  # fewer are no statement
MAX_WORDS = 60
ENOUGH_WORDS = 30  # after so many, whole sentences are left out

_FIELD = re.compile(
    r":param\s+(?:[\w.\[\],|][\w.\[\], |\t]*\s)?\*{0,2}(?P<name>\w+):[ \t]*(?P<text>.*)"
)
_ENTRY = re.compile(
    r"\*{0,2}(?P<name>\w+)(?:\s*\([^()]*(?:\([^()]*\)[^()]*)*\))?:\s+(?P<text>\S.*)"
)
_HEADING = re.compile(r"(?:Args|Arguments|Parameters|Keyword Args):\s*$")
_FRAGMENT = re.compile(r"(?:of|as|in|see|same|likewise|one of|or|and|with|without|from)\b", re.I)
_SENTENCE = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)[.!?](?=\s|$)")
_LITERAL = re.compile(r"``([^`]+)``")
_ROLE = re.compile(r":[\w:]{1,60}:`[~.!]?([^`<>]+)`")
_DEFAULT = re.compile(r"(?<!\s)\s*\(?[Dd]efault(?:s to)?[:=]? ``?[^`]*``?\)?\.?$")
_UNREADABLE = re.compile(r"https?://|_\b|\.\. |\s[-*] ")


@dataclass(frozen=True)
class Meaning:
    """What a docstring says of one parameter.

    :param first: its first line, counted from 0 at the docstring's first.
    :param count: how many lines it has.
    """

    name: str
    text: str
    first: int
    count: int


def mine_parameters(codebase: Codebase) -> Iterator[QAPair]:
    """Ask what each documented parameter means."""
    for definition in codebase.outside_tests:
        title = codebase.title(definition)
        if not definition.docstring or title is None or definition.language != "python":
            continue
        first, last = definition.docstring_lines
        for each in read_meanings(codebase.lines[definition.path][first - 1 : last]):
            start = first + each.first
            yield QAPair(
                "parameter",
                f"What does the parameter `{each.name}` of {owner_of(title)} mean?",
                each.text,
                codebase.evidence(definition.path, (start, start + each.count - 1)),
            )


def read_meanings(lines: Sequence[str]) -> Iterator[Meaning]:
    """Read what a docstring says of its parameters.

    :param lines: those of the docstring.
    """
    heading = entry = -1  # indentation of `Args:`, and of what stands below it; -1 outside
    for at, line in enumerate(lines):
        text, indent = line.strip(), _indent(line)
        if _HEADING.match(text):
            heading, entry = indent, -1
            continue
        if text and indent <= heading:
            heading = -1
        if text and heading >= 0 and entry < 0:
            entry = indent
        is_entry = heading >= 0 and indent == entry
        match = _FIELD.match(text) or (_ENTRY.match(text) if is_entry else None)
        if match is None:
            continue
        stop = at + 1
        while stop < len(lines) and lines[stop].strip(' \t\n"') and _indent(lines[stop]) > indent:
            stop += 1
        told = " ".join([match["text"], *(each.strip() for each in lines[at + 1 : stop])])
        if meaning := _put_as_answer(told):
            yield Meaning(match["name"], meaning, at, stop - at)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _put_as_answer(text: str) -> str | None:
    """Leave whole sentences, the first with a capital letter; None if they do not say enough."""
    plain = " ".join(text.replace('"""', "").split())
    plain = _ROLE.sub(r"`\1`", _LITERAL.sub(r"`\1`", plain))
    plain = _DEFAULT.sub("", plain).strip()
    ends = [match.end() for match in _SENTENCE.finditer(plain)]
    enough = (plain[:end] for end in reversed(ends) if len(plain[:end].split()) <= ENOUGH_WORDS)
    kept = next(enough, plain)
    words = kept.split()
    if not MIN_WORDS <= len(words) <= MAX_WORDS or ends_open(strip_markup(kept)):
        return None
    if _FRAGMENT.match(kept) or kept.count("`") % 2 or _UNREADABLE.search(kept):
        return None
    first = kept[0].upper() + kept[1:] if kept[1:2].islower() or kept[1:2] == " " else kept
    return first if first.endswith((".", "!", "?")) else first.rstrip(",;:") + "."
