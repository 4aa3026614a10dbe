"""Sections of a repository's documentation, each with a question that it answers.

The question is the heading's own ("Saving a model" asks how to), else the heading with its
parent, else the first sentence of the section. Changelogs and licences are left out: they name
everything and explain nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from data_tools.headings import MAX_TITLE_CHARS, SEPARATOR, split_sections
from data_tools.rewrites import ask_heading
from data_tools.sentences import first_sentence, strip_markup
from data_tools.sources import SourceFile
from data_tools.text import split_lines

MIN_BODY_WORDS = 15  # below the heading; less answers nothing
MIN_TRAIL_WORDS = 3  # different ones, of a heading with its parent
MIN_SENTENCE_WORDS = 6

_NO_DOCUMENTATION = re.compile(
    r"(^|/)(change-?log|changes|history|news|releases?|release[-_]?notes|whats-?_?new|licen[cs]e|"
    r"authors|contributors|copying|notice|thanks|credits|code[-_]of[-_]conduct|requirements|"
    r"security|pull_request_template|issue_template)[^/]*($|/)",
    re.I,
)
_NUMBER = re.compile(r"^\W*(?:\d+(?:\.\d+)+[.):]?\s+|\d+[.):]\s*)*\W*|[\s:]+$")
_WORD = re.compile(r"[^\W\d_]{2,}")
_PUNCTUATION = re.compile(r"^\W+$")
_MARKUP_LINE = re.compile(r"^\s*(\.\. |:[\w -]+:(?!`)|\||```|~~~|<|!\[|#|\[|[-=*~^]{3,}|>)")
_ASIDE = re.compile(
    r"^\W*(attribution|citations?|citing|licen[cs]e|contact|acknowledge?ments?|references|authors?|"
    r"credits|changelog|further reading|see also|related links|table of contents|links)\b",
    re.I,
)
# Titles that say what sort of section it is, and nothing of what it is about.
_GENERIC = frozenset(
    "steps getting-started about abstract api background conclusion contents description "
    "details example examples faq features general how-it-works howto index introduction "
    "license links miscellaneous motivation note notes options overview parameters "
    "prerequisites purpose readme reference references requirements resources see-also "
    "summary syntax todo tutorial usage warning arguments returns raises output input "
    "next-steps what-s-next table-of-contents problematic-code correct-code related-links "
    "additional-details".split()
)


@dataclass(frozen=True)
class Section:
    """A section and what it answers.

    :param outline: titles down to it, such as `Guide › Install`.
    :param start_line: first line below the heading that is not blank, 1-based.
    :param end_line: last one, inclusive.
    :param masked_lines: first and last line that hold the query word for word.
    """

    query: str
    outline: str
    start_line: int
    end_line: int
    masked_lines: tuple[int, int]


def find_sections(file: SourceFile) -> Iterator[Section]:
    """Find the sections of a documentation file that answer a question.

    :param file: prose; a changelog, licence or template gives none.
    """
    if _NO_DOCUMENTATION.search(file.path):
        return
    lines = split_lines(file.text)
    for first, stop, outline in split_sections(lines, file.language):
        if not outline or _ASIDE.match(outline.rpartition(SEPARATOR)[2]):
            continue
        start = first + _heading_rows(lines, first)
        filled = [at for at in range(start, stop) if lines[at].strip()]
        body = [lines[at] for at in filled if not _MARKUP_LINE.match(lines[at])]
        if sum(len(line.split()) for line in body) < MIN_BODY_WORDS:
            continue
        heading = (first + 1, start)
        query = _ask_outline(outline)
        if query:
            yield Section(query, outline, filled[0] + 1, filled[-1] + 1, heading)
        elif found := _ask_paragraph(lines, filled):
            sentence, paragraph = found
            yield Section(sentence, outline, filled[0] + 1, filled[-1] + 1, paragraph)


def _heading_rows(lines: list[str], first: int) -> int:
    """Count the lines of the heading that begins there: its title, and what underlines it."""
    if re.match(r" {0,3}(#{1,6}|={1,6})\s", lines[first]):
        return 1
    return 3 if _PUNCTUATION.match(lines[first]) else 2


def _ask_outline(outline: str) -> str | None:
    if len(outline.rpartition(SEPARATOR)[2]) >= MAX_TITLE_CHARS:  # cut off
        return None
    titles = [_NUMBER.sub("", strip_markup(title)) for title in outline.split(SEPARATOR)]
    question = ask_heading(titles[-1])
    if question:
        return question
    trail = [title for title in titles[-2:] if _slug(title) not in _GENERIC]
    if len(trail) == 2 and trail[0].lower() in trail[1].lower():
        del trail[0]
    words = " ".join(title.rstrip(" ?") for title in trail).split()
    different = {word.lower() for word in words if _WORD.search(word)}
    if len(different) < MIN_TRAIL_WORDS or re.search(r"[<>{}|=]|::", " ".join(words)):
        return None
    return " ".join(word.lower() if word[1:].islower() else word for word in words)


def _slug(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def _ask_paragraph(lines: list[str], filled: list[int]) -> tuple[str, tuple[int, int]] | None:
    """Ask by the first sentence of the first paragraph; return it with the paragraph's lines."""
    begins = (at for at in filled if at == filled[0] or not lines[at - 1].strip())
    start = next((at for at in begins if not _MARKUP_LINE.match(lines[at])), None)
    if start is None or not lines[start][0].isalnum():
        return None
    stop = next(
        (at for at in range(start, filled[-1] + 1) if not lines[at].strip()), filled[-1] + 1
    )
    paragraph = "".join(lines[start:stop]).strip()
    sentence = first_sentence(paragraph) if paragraph.endswith((".", ":", "!")) else None
    if sentence is None or sentence[0].islower() or len(sentence.split()) < MIN_SENTENCE_WORDS:
        return None
    return sentence, (start + 1, stop)
