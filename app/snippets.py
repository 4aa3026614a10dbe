"""A chunk cut into snippets that could answer by themselves: definitions, paragraphs, code blocks.

Pure functions of a chunk's lines; no scores, no models.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from data_tools.chunk import Chunk
from data_tools.languages import BY_NAME, Kind
from data_tools.text import split_lines

MAX_WORDS = 60  # of one snippet
SIGNATURE_LINES = 8
WINDOW_LINES = 5  # of code without a definition

_DEFINITION = re.compile(
    r"^\s*(?:export |default |public |private |protected |internal |static |final |abstract |"
    r"async |pub(?:\([\w ]+\))? |unsafe |override |virtual |inline |extern |sealed |data |case |"
    r"open |const )*(?:def|class|function\*?|func|fn|fun|interface|struct|trait|enum|impl|object|"
    r"type|module|macro_rules!|namespace|record)\b\s*\(?[^\s=(:{]*"
)
_SIGNATURE_END = re.compile(r"[:{;]\s*(?:#.*)?$|=>\s*$|=\s*$")
_DOCSTRING = re.compile(r'^\s*[rRbBuU]{0,2}("""|\'\'\')')
_COMMENT = re.compile(r"^\s*(?:///?!?|#(?!!)|/\*+|\*(?!/)|--|;+)\s?")
_FENCE = re.compile(r"^\s*(?:```|~~~)")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s|^={1,6}\s")
_RULE = re.compile(r"^\s*([=\-~`^\"'#*+_:.])\1{2,}\s*$")  # underlines and horizontal rules
_MARKUP = re.compile(r"^\s*(?:\.\. |\[.*\]\(#|:[\w-]+:\s*(?!`)|<|!\[|\[!\[|\|)")
_RST_CODE = re.compile(r"^\s*\.\. (?:code|code-block|testcode|sourcecode|doctest)::|[^:]::\s*$")
_ROLE = re.compile(r"(?::(?:py:)?[a-z]+:|\{[a-z:]+\})`[~.]*([^`<]+?)(?:\s*<[^`>]*>)?`")
_BULLET = re.compile(r"^\s*(?:[*+-]|\d+[.)])\s+")
_QUOTE_MARK = re.compile(r"^\s*>\s?", re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    """A few lines of a chunk; 1-based, inclusive.

    :param text: the lines without common indentation, cut to `MAX_WORDS`.
    """

    start_line: int
    end_line: int
    text: str
    is_code: bool


def cut_snippets(chunk: Chunk) -> list[Snippet]:
    """Cut a chunk into snippets, in order; some lines may be in none."""
    lines = [line.rstrip("\n") for line in split_lines(chunk.text)]
    if BY_NAME[chunk.language].kind in (Kind.PROSE, Kind.NOTEBOOK):
        blocks = _prose_blocks(lines)
    else:
        blocks = ((start, end, True) for start, end in _code_blocks(lines))
    snippets = []
    for start, end, is_code in blocks:
        text, end = _trim(lines, start, end, is_code)
        if text:
            first, last = chunk.start_line + start, chunk.start_line + end - 1
            snippets.append(Snippet(first, last, text, is_code))
    return snippets


def _trim(lines: Sequence[str], start: int, end: int, is_code: bool) -> tuple[str, int]:
    """Keep the lines that fit `MAX_WORDS`, at least one; return them and their end."""
    kept: list[str] = []
    words = 0
    for index in range(start, end):
        words += len(lines[index].split())
        if kept and words > MAX_WORDS and is_code:
            break
        kept.append(lines[index])
    while kept and not kept[-1].strip():
        kept.pop()
    indent = min((len(line) - len(line.lstrip()) for line in kept if line.strip()), default=0)
    text = "\n".join(line[indent:] for line in kept)
    return (text if is_code else _trim_prose(text)), start + len(kept)


def _trim_prose(text: str) -> str:
    """Join a paragraph's lines, keep whole sentences up to `MAX_WORDS`, drop markup roles."""
    text = " ".join(_BULLET.sub("", _QUOTE_MARK.sub("", text)).split())
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")
    if len(text.split()) <= MAX_WORDS:
        return text
    kept = ""
    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z`*\"'(])", text):
        if kept and len(f"{kept} {sentence}".split()) > MAX_WORDS:
            return f"{kept} …"
        kept = f"{kept} {sentence}".strip()
    return " ".join(kept.split()[:MAX_WORDS]) + " …"


def _prose_blocks(lines: Sequence[str]) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, is code) of paragraphs and code blocks; headings and markup are left."""
    index = 0
    while index < len(lines):
        line = lines[index]
        end = index + 1
        if _FENCE.match(line):
            while end < len(lines) and not _FENCE.match(lines[end]):
                end += 1
            yield index + 1, end, True
            end += 1
        elif line.strip(" >") and not _is_furniture(lines, index):
            while end < len(lines) and not _ends_paragraph(lines[end]):
                end += 1
            yield index, end, False
        if end <= len(lines) and _RST_CODE.search(lines[end - 1]):
            start, end = _indented_block(lines, end)
            if start < end:
                yield start, end, True
        index = end


def _ends_paragraph(line: str) -> bool:
    return bool(not line.strip(" >") or _FENCE.match(line) or _BULLET.match(line))


def _is_furniture(lines: Sequence[str], index: int) -> bool:
    """Tell whether a line is a heading, an underline, a directive or a badge."""
    line = lines[index]
    underlined = index + 1 < len(lines) and _RULE.match(lines[index + 1])
    return bool(_HEADING.match(line) or _RULE.match(line) or _MARKUP.match(line) or underlined)


def _indented_block(lines: Sequence[str], start: int) -> tuple[int, int]:
    """Find the indented block that a reStructuredText line opens; its options are left out."""
    while start < len(lines) and (not lines[start].strip() or _MARKUP.match(lines[start])):
        start += 1
    end = start
    while end < len(lines) and (not lines[end].strip() or lines[end][:1] in " \t"):
        end += 1
    return start, end


def _code_blocks(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield definitions with the start of their documentation; else windows of lines."""
    first = len(lines)
    for index, line in enumerate(lines):
        if _DEFINITION.match(line) and not _COMMENT.match(line):
            start = _leading_comment(lines, index)
            first = min(first, start)
            yield start, _documentation_end(lines, index)
    for start in range(0, first, WINDOW_LINES):
        yield start, min(start + WINDOW_LINES, first)


def _leading_comment(lines: Sequence[str], index: int) -> int:
    start = index
    while start and (_COMMENT.match(lines[start - 1]) or lines[start - 1].lstrip().startswith("@")):
        start -= 1
    return start


def _documentation_end(lines: Sequence[str], index: int) -> int:
    """Find the end of a signature and of the first paragraph of a docstring that follows it."""
    last = index
    limit = min(index + SIGNATURE_LINES, len(lines)) - 1
    while last < limit and not _SIGNATURE_END.search(lines[last]):
        last += 1
    if last + 1 == len(lines) or not _DOCSTRING.match(lines[last + 1]):
        return last + 1
    last += 1
    opening = lines[last].strip()
    is_closed = len(opening) > 5 and opening.endswith(('"""', "'''"))
    while not is_closed and last + 1 < len(lines) and lines[last + 1].strip():
        last += 1
        is_closed = lines[last].rstrip().endswith(('"""', "'''"))
    return last + 1
