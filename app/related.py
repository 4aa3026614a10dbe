"""Further questions that the index can answer, to go on from an answer.

They come from the model where there is one, and else from what was found beside the evidence:
what headings and docstrings say, made into questions. Each is searched for, and kept only if what
is found is good enough to answer from and is not what has just been shown.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from textwrap import dedent
from typing import TYPE_CHECKING

from app.abstention import missing_words
from app.drafting import Found, Meter, ask_aside
from data_tools.chunk import Chunk
from data_tools.docstrings import find_definitions
from data_tools.headings import SEPARATOR
from data_tools.languages import BY_NAME, Kind
from data_tools.rewrites import ask_docstring, ask_heading
from data_tools.sentences import first_sentence
from data_tools.sources import SourceFile
from retrieval.index import CodeIndex
from retrieval.lexical import query_tokens
from retrieval.prompt import SUGGESTIONS, Turn, parse_questions, suggest_messages
from retrieval.rank import path_prior
from retrieval.search import Hit

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

RELATED = 3
MAX_SEARCHES = 8  # to find as many; each takes about as long as the search for the question
BEST_HITS = 3  # of which one must be new
BESIDE = 3  # times as many passages as the evidence has are looked at for questions
MIN_PRIOR = 0.9  # of a path: tests and copies of others' code are below
PARSE_TIMEOUT_S = 0.1  # of one passage

_TYPE = re.compile(r"(?:[A-Z]+[a-z0-9]+){2,}")
_ORNAMENT = re.compile(r"^\W+|[\s:]+$")  # around a heading


def suggest_related(
    index: CodeIndex,
    found: Found,
    answer: str,
    chat: "BaseChatModel | None",
    meter: Meter,
    history: Sequence[Turn] = (),
) -> tuple[str, ...]:
    """Find up to three questions that lead on from an answer.

    :param found: the evidence of the answer.
    :param answer: its text.
    :param history: earlier turns, as they were in its prompt.
    """
    suggested: list[str] = []
    if chat is not None:
        chunks = [hit.chunk for hit in found.hits]
        messages = suggest_messages(found.question, chunks, answer, history)
        suggested = parse_questions(ask_aside(chat, messages, meter), most=SUGGESTIONS)
    related: list[str] = []
    led_to = {_place(hit) for hit in found.hits}
    tried = {frozenset(query_tokens(found.question))}
    for question in chain(suggested, _mine_questions(index, found)):
        tokens = frozenset(query_tokens(question))
        if tokens in tried or len(tried) > MAX_SEARCHES:
            continue
        tried.add(tokens)
        hits = _search(index, question, found)
        new = [_place(hit) for hit in hits[:BEST_HITS] if _place(hit) not in led_to]
        if new and missing_words(index, question, hits) is None:
            related.append(question)
            led_to.add(new[0])
        if len(related) == RELATED:
            break
    return tuple(related)


def _search(index: CodeIndex, question: str, found: Found, times: int = 1) -> list[Hit]:
    scope = found.scope
    return index.search(
        question,
        times * scope.k,
        repos=scope.repos,
        languages=scope.languages,
        path_glob=scope.path_glob,
    )


def _place(hit: Hit) -> tuple[str, str, int]:
    return hit.chunk.repo, hit.chunk.path, hit.chunk.start_line


def _mine_questions(index: CodeIndex, found: Found) -> list[str]:
    """List questions of what ranks behind the evidence, then of the evidence itself.

    At most one of each file, so that they lead to different places; those that a heading or
    docstring words come before those that only name a type.
    """
    shown = {_place(hit) for hit in found.hits}
    beside = [
        hit for hit in _search(index, found.question, found, BESIDE) if _place(hit) not in shown
    ]
    worded: dict[str, str] = {}
    named: dict[str, str] = {}
    for hit in [*beside, *found.hits]:
        path = hit.chunk.path
        if path_prior(path) < MIN_PRIOR:
            continue
        for question, is_worded in _ask_chunk(hit.chunk):
            (worded if is_worded else named).setdefault(path, question)
    return [*worded.values(), *(named[path] for path in named if path not in worded)]


def _ask_chunk(chunk: Chunk) -> Iterator[tuple[str, bool]]:
    """Yield questions that a passage answers, and whether it words them itself."""
    if BY_NAME[chunk.language].kind in (Kind.PROSE, Kind.NOTEBOOK):
        for outline in chunk.symbol.split(", "):
            if asked := ask_heading(_ORNAMENT.sub("", outline.rpartition(SEPARATOR)[2])):
                yield asked, True
        return
    file = SourceFile(chunk.repo, chunk.commit, chunk.path, chunk.language, dedent(chunk.text), "")
    for definition in find_definitions(file, parse_timeout_s=PARSE_TIMEOUT_S):
        sentence = first_sentence(definition.docstring)
        if definition.name.startswith("_") or sentence is None:
            continue
        if asked := ask_docstring(sentence, noun=definition.noun):
            yield asked, True
    for name in chunk.symbol.split(", "):
        if _TYPE.fullmatch(name):
            yield f"What does `{name}` do?", False
