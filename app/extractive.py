"""The answer when there is no language model: the lines themselves, well chosen.

The best passages are cut into snippets (a definition with the start of its documentation, a
paragraph, a few lines of code); the snippet nearest to the question in words and in meaning is
quoted, and the next best places to look are listed. Nothing is written that is not in the code.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.citations import format_citation
from data_tools.chunk import Chunk
from data_tools.languages import BY_NAME, Kind
from data_tools.text import split_lines
from retrieval.embed import Vectors
from retrieval.index import Hit
from retrieval.lexical import query_tokens

MAX_WORDS = 80  # of the quoted answer
MAX_SNIPPET_WORDS = 60
PASSAGES = 5  # of the evidence that snippets are taken from
PLACES = 3  # listed after the answer
SIGNATURE_LINES = 6
WINDOW_LINES = 5  # of code without a definition
RANK_WEIGHT = 0.45  # of a snippet's score: how its passage ranked
WORDS_WEIGHT = 0.3  # how much of the question's words it holds, by their rarity
MEANING_WEIGHT = 0.25  # its cosine with the question

_DEFINITION = re.compile(
    r"^\s*(?:export |default |public |private |protected |internal |static |final |abstract |"
    r"async |pub(?:\([\w ]+\))? |unsafe |override |virtual |inline |extern |sealed |data |case |"
    r"open |const )*(?:def|class|function\*?|func|fn|fun|interface|struct|trait|enum|impl|object|"
    r"type|module|macro_rules!|namespace|record)\b\s*\(?[^\s=(:{]*"
)
_DOCSTRING = re.compile(r'^\s*[rRbBuU]{0,2}("""|\'\'\')')
_COMMENT = re.compile(r"^\s*(?:///?!?|#(?!!)|/\*+|\*(?!/)|--|;+)\s?")
_MARKUP = re.compile(r"^\s*(?:\.\. |[=\-~`^\"'#*+]{3,}\s*$|:\w+:|<!--|!\[|\[!\[|\|)")


@dataclass(frozen=True)
class Snippet:
    """A few lines that could answer by themselves; 1-based, inclusive."""

    passage: int
    start_line: int
    end_line: int
    text: str
    is_code: bool


def answer_extractively(
    question: str,
    hits: Sequence[Hit],
    *,
    rarity: Callable[[Sequence[str]], list[float]],
    embed: Callable[[Sequence[str]], Vectors] | None,
) -> str:
    """Answer with cited quotations from the evidence, as Markdown.

    :param hits: the evidence, best first, at least one.
    :param rarity: rates search tokens from 0 (everywhere) to 1, as `CodeIndex.rarity` does.
    :param embed: the index's embedding model; None while it is not ready.
    :return: at most `MAX_WORDS` words of quotation, then where else to look.
    :raises ValueError: `hits` is empty.
    """
    if not hits:
        raise ValueError("there is no evidence to quote")
    snippets = [
        snippet
        for passage, hit in enumerate(hits[:PASSAGES], start=1)
        for snippet in _cut_snippets(passage, hit.chunk)
    ]
    scores = _score(question, snippets, hits, rarity, embed)
    order = sorted(range(len(snippets)), key=lambda index: -scores[index])
    best = snippets[order[0]]
    parts = [_quote(best, hits[best.passage - 1].chunk)]
    words_left = MAX_WORDS - len(best.text.split())
    for index in order[1:]:
        second = snippets[index]
        if second.passage == best.passage and len(second.text.split()) <= words_left:
            parts.append(_quote(second, None))
            break
    places = [
        f"- {_name_place(hit.chunk)} {_cite_all(passage, hit.chunk)}"
        for passage, hit in enumerate(hits, start=1)
        if passage != best.passage
    ][:PLACES]
    if places:
        parts.append("Also worth a look:\n\n" + "\n".join(places))
    return "\n\n".join(parts)


def _score(
    question: str,
    snippets: Sequence[Snippet],
    hits: Sequence[Hit],
    rarity: Callable[[Sequence[str]], list[float]],
    embed: Callable[[Sequence[str]], Vectors] | None,
) -> list[float]:
    tokens = query_tokens(question)
    weights = dict(zip(tokens, rarity(tokens), strict=True))
    total = sum(weights.values()) or 1.0
    meaning = np.zeros(len(snippets))
    if embed is not None:
        vectors = embed([question, *(snippet.text for snippet in snippets)])
        meaning = vectors[1:] @ vectors[0]
    scores = []
    for snippet, cosine in zip(snippets, meaning, strict=True):
        chunk = hits[snippet.passage - 1].chunk
        held = set(query_tokens(f"{chunk.symbol} {snippet.text}"))
        words = sum(weight for token, weight in weights.items() if token in held) / total
        rank = hits[snippet.passage - 1].score / hits[0].score if hits[0].score else 0.0
        scores.append(RANK_WEIGHT * rank + WORDS_WEIGHT * words + MEANING_WEIGHT * float(cosine))
    return scores


def _quote(snippet: Snippet, heading: Chunk | None) -> str:
    citation = format_citation(snippet.passage, snippet.start_line, snippet.end_line)
    if snippet.is_code:
        language = BY_NAME[heading.language].name if heading else ""
        body = f"```{language}\n{snippet.text}\n```\n{citation}"
    else:
        body = f"> {' '.join(snippet.text.split())} {citation}"
    return body if heading is None else f"{_name_place(heading)}\n\n{body}"


def _name_place(chunk: Chunk) -> str:
    name = f"`{chunk.symbol.split(', ')[0]}` in " if chunk.symbol else ""
    return f"{name}`{chunk.path}`"


def _cite_all(passage: int, chunk: Chunk) -> str:
    return format_citation(passage, chunk.start_line, chunk.end_line)


def _cut_snippets(passage: int, chunk: Chunk) -> Iterator[Snippet]:
    lines = [line.rstrip("\n") for line in split_lines(chunk.text)]
    is_prose = BY_NAME[chunk.language].kind in (Kind.PROSE, Kind.NOTEBOOK)
    spans = _prose_spans(lines) if is_prose else _code_spans(lines)
    for start, end in spans:
        text, end = _trim(lines, start, end)
        if text:
            yield Snippet(
                passage, chunk.start_line + start, chunk.start_line + end - 1, text, not is_prose
            )


def _trim(lines: Sequence[str], start: int, end: int) -> tuple[str, int]:
    """Keep the lines that fit `MAX_SNIPPET_WORDS`, at least one."""
    kept: list[str] = []
    words = 0
    for index in range(start, end):
        words += len(lines[index].split())
        if kept and words > MAX_SNIPPET_WORDS:
            break
        kept.append(lines[index])
    while kept and not kept[-1].strip():
        kept.pop()
    indent = min((len(line) - len(line.lstrip()) for line in kept if line.strip()), default=0)
    text = "\n".join(line[indent:] for line in kept)
    if len(text.split()) > MAX_SNIPPET_WORDS:  # one long line of prose
        text = " ".join(text.split()[:MAX_SNIPPET_WORDS]) + " …"
    return text, start + len(kept)


def _prose_spans(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield paragraphs: runs of lines between blank ones, markup apart."""
    start = None
    for index, line in enumerate([*lines, ""]):
        is_text = bool(line.strip()) and not _MARKUP.match(line)
        if is_text and start is None:
            start = index
        elif not is_text and start is not None:
            yield start, index
            start = None


def _code_spans(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield definitions with the start of their documentation; else windows of lines."""
    found = False
    for index, line in enumerate(lines):
        if _DEFINITION.match(line):
            found = True
            yield _leading_comment(lines, index), _documentation_end(lines, index)
    if not found or not _DEFINITION.match(lines[0]):
        for start in range(0, len(lines), WINDOW_LINES):
            if any(line.strip() for line in lines[start : start + WINDOW_LINES]):
                yield start, min(start + WINDOW_LINES, len(lines))


def _leading_comment(lines: Sequence[str], index: int) -> int:
    start = index
    while start and (_COMMENT.match(lines[start - 1]) or lines[start - 1].lstrip().startswith("@")):
        start -= 1
    return start


def _documentation_end(lines: Sequence[str], index: int) -> int:
    """Find the end of a signature and of the first paragraph of a docstring that follows it."""
    end = index
    while end < min(index + SIGNATURE_LINES, len(lines)) - 1 and not re.search(
        r"[:{;]\s*(?:#.*)?$|=>\s*$|=\s*$", lines[end]
    ):
        end += 1
    if end + 1 < len(lines) and _DOCSTRING.match(lines[end + 1]):
        end += 1
        while end + 1 < len(lines) and lines[end].strip() and lines[end + 1].strip():
            if lines[end].rstrip().endswith(('"""', "'''")) and len(lines[end].strip()) > 3:
                break
            end += 1
    return end + 1
