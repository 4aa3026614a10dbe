"""A file as chunks that cover every line exactly once.

Code is split along its syntax tree and the parts are packed up to a size, so that a function
or a small class stays whole; prose is split at headings, everything else at blank lines.
Split-then-pack after Zhang et al., "cAST", EMNLP Findings 2025, arXiv:2506.15655, on whole
lines instead of bytes, because lines are what is cited.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from data_tools import headings, syntax
from data_tools.languages import BY_NAME, Kind
from data_tools.limits import PARSE_TIMEOUT_S
from data_tools.sources import SourceFile
from data_tools.text import split_lines

MAX_CHARS = 1_600  # a chunk's size, but for single lines longer than that
SMALL_CHARS = 200  # definitions below this join their neighbours; larger ones stand alone
MAX_SYMBOLS = 8  # names listed for one chunk


@dataclass(frozen=True)
class Chunk:
    """Some consecutive lines of one file: the unit that is indexed and cited.

    :param start_line: 1-based, inclusive.
    :param end_line: 1-based, inclusive.
    :param symbol: what the lines define or belong to (`Class.method`, `Guide › Install`), or "".
    :param text: exactly those lines.
    """

    repo: str
    commit: str
    path: str
    start_line: int
    end_line: int
    language: str
    symbol: str
    text: str


@dataclass(frozen=True)
class Piece:
    """A span of lines on the way to a chunk; 0-based, `end` exclusive.

    :param scope: the definition too large for one chunk that this is a part of, or "".
    """

    start: int
    end: int
    symbols: tuple[str, ...] = ()
    is_definition: bool = False
    scope: str = ""


class _Measure:
    """Counts the characters of any span of lines in constant time."""

    def __init__(self, lines: list[str]) -> None:
        self._before = list(accumulate(map(len, lines), initial=0))

    def __call__(self, start: int, end: int) -> int:
        return self._before[end] - self._before[start]


def chunk_file(
    file: SourceFile, *, max_chars: int = MAX_CHARS, parse_timeout_s: float = PARSE_TIMEOUT_S
) -> list[Chunk]:
    """Cut a file into chunks, in order, without gap or overlap.

    :param max_chars: upper bound on a chunk's text, in characters; one longer line is kept whole.
    :param parse_timeout_s: then the file is cut at blank lines instead.
    :raises ValueError: `max_chars` is below 1.
    """
    if max_chars < 1:
        raise ValueError(f"max_chars must be at least 1, not {max_chars}")
    lines = split_lines(file.text)
    return [
        Chunk(
            file.repo,
            file.commit,
            file.path,
            piece.start + 1,
            piece.end,
            file.language,
            ", ".join(piece.symbols[:MAX_SYMBOLS]),
            "".join(lines[piece.start : piece.end]),
        )
        for piece in _cut(file, lines, max_chars, parse_timeout_s)
    ]


def cut_paragraphs(file: SourceFile, *, max_chars: int = MAX_CHARS) -> list[Chunk]:
    """Cut a file at blank lines, whatever is in it: thirty times as fast, and without symbols.

    :param max_chars: as in `chunk_file`.
    """
    text, chunks, start, line = file.text, [], 0, 1
    while start < len(text):
        stop = _end_of_paragraph(text, start, max_chars)
        piece = text[start:stop]
        next_line = line + piece.count("\n")
        end_line = next_line - 1 if piece.endswith("\n") else next_line
        where = (file.repo, file.commit, file.path, line, end_line, file.language)
        chunks.append(Chunk(*where, symbol="", text=piece))
        start, line = stop, next_line
    return chunks


def _end_of_paragraph(text: str, start: int, max_chars: int) -> int:
    limit = start + max_chars
    if len(text) <= limit:
        return len(text)
    blank = text.rfind("\n\n", start + max_chars // 2, limit)
    if blank >= 0:
        return blank + 2
    return (text.rfind("\n", start, limit) + 1) or (text.find("\n", limit) + 1) or len(text)


def _cut(file: SourceFile, lines: list[str], max_chars: int, parse_timeout_s: float) -> list[Piece]:
    if not lines:
        return []
    measure = _Measure(lines)
    kind = BY_NAME[file.language].kind
    if kind in (Kind.PROSE, Kind.NOTEBOOK):
        sections = [
            Piece(start, end, (title,) if title else ())
            for start, end, title in headings.split_sections(lines, file.language)
        ]
        return _pack(_split_long(sections, lines, measure, max_chars), measure, max_chars)
    if BY_NAME[file.language].grammar:
        try:
            pieces = _cut_syntax(file, lines, measure, max_chars, parse_timeout_s)
        except syntax.CannotParseError:
            pass
        else:
            return _pack(pieces, measure, max_chars)
    return list(_cut_lines(Piece(0, len(lines)), lines, measure, max_chars))


def _cut_syntax(
    file: SourceFile, lines: list[str], measure: _Measure, max_chars: int, parse_timeout_s: float
) -> list[Piece]:
    """Descend the syntax tree until every part fits.

    :raises syntax.CannotParseError: no tree, or not in time.
    """
    deadline = time.monotonic() + parse_timeout_s
    tree = syntax.parse(file.text, file.language, deadline)
    whole = syntax.Part(tree.root, 0, len(lines))
    if measure(0, len(lines)) <= max_chars:
        return [Piece(0, len(lines), syntax.names_within(tree, whole))]
    done: list[Piece] = []
    stack = [(whole, "")]  # no recursion: hostile code nests deeper than Python's own limit
    while stack:
        if time.monotonic() > deadline:
            raise syntax.CannotParseError("took too long")
        part, scope = stack.pop()
        piece = Piece(part.start, part.end, part.symbols, part.is_definition, scope)
        if measure(part.start, part.end) <= max_chars:
            done.append(piece)
            continue
        parts = syntax.split(tree, part)
        if len(parts) > 1:
            stack.extend((child, part.scope) for child in reversed(parts))
        elif parts and parts[0].node.id != part.node.id:
            stack.append((parts[0], part.scope))
        else:
            done.extend(_cut_lines(replace(piece, scope=part.scope), lines, measure, max_chars))
    return done


def _split_long(
    pieces: Iterable[Piece], lines: list[str], measure: _Measure, max_chars: int
) -> Iterator[Piece]:
    for piece in pieces:
        if measure(piece.start, piece.end) <= max_chars:
            yield piece
        else:
            yield from _cut_lines(piece, lines, measure, max_chars)


def _cut_lines(
    piece: Piece, lines: list[str], measure: _Measure, max_chars: int
) -> Iterator[Piece]:
    """Cut a span where it hurts least: after a blank line, before little indentation."""
    start = piece.start
    while start < piece.end:
        stop = start + 1
        while stop < piece.end and measure(start, stop + 1) <= max_chars:
            stop += 1
        if stop < piece.end:
            earliest = start + 1 + (stop - start) // 2
            stop = min(range(earliest, stop + 1), key=lambda n: (_cost(lines, n), -n), default=stop)
        yield Piece(start, stop, piece.symbols, scope=piece.scope)
        start = stop


def _cost(lines: list[str], index: int) -> float:
    """Rate a cut before line `index`: indentation, in characters, and 40 for want of a blank."""
    line = lines[index]
    indent = len(line) - len(line.lstrip()) if line.strip() else 100
    return indent + (0 if not lines[index - 1].strip() else 40)


def _pack(pieces: Iterable[Piece], measure: _Measure, max_chars: int) -> list[Piece]:
    """Join neighbours of one scope while they fit; two definitions only if one is small."""
    packed: list[Piece] = []
    for piece in pieces:
        last = packed[-1] if packed else None
        if last and _belong_together(last, piece, measure, max_chars):
            symbols = dict.fromkeys(last.symbols + piece.symbols)
            defines = last.is_definition or piece.is_definition
            packed[-1] = Piece(last.start, piece.end, tuple(symbols), defines, piece.scope)
        else:
            packed.append(piece)
    return packed


def _belong_together(last: Piece, piece: Piece, measure: _Measure, max_chars: int) -> bool:
    if measure(last.start, piece.end) > max_chars:
        return False
    if last.scope != piece.scope:
        return False
    smaller = min(measure(last.start, last.end), measure(piece.start, piece.end))
    return smaller < SMALL_CHARS or not (last.is_definition and piece.is_definition)
