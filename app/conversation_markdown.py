"""A conversation as Markdown, to be kept or sent: answers with links to the lines they rest on.

Links lead to the indexed commit, so they show the same lines for good. Questions, paths and names
are written so that they stay text whatever they hold. An answer is Markdown already; HTML in it is
shown as text, and where one could still run or load something, the answer stands in a code block.
What cannot be seen is shown.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from urllib.parse import quote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

from app.conversation import Draft, Exchange, check
from app.history import choose_name
from data_tools.hidden_text import show_hidden
from data_tools.sources import WORKTREE
from retrieval.citations import Checked, Citation, format_citation
from retrieval.search import Hit

SHORT_COMMIT = 7  # characters
URL_CHARACTERS = ":/?#@!$&'*+,;=%~[]"  # what a link keeps; not what would end it

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$&])")
_CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`)", re.DOTALL)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_HARMLESS_LINK = re.compile(
    r"https?:|(?!//|[a-z][a-z\d+.-]*:)", re.IGNORECASE
)  # to the web, or a file


def conversation_markdown(name: str, exchanges: Sequence[Exchange]) -> str:
    """Write a conversation: each question with its answers and the list of their evidence.

    :param name: of the conversation; the title.
    """
    parts = [f"# {_plain(name)}"]
    for exchange in exchanges:
        parts += _write_exchange(exchange)
    return show_hidden("\n\n".join(parts)) + "\n"


def _write_exchange(exchange: Exchange) -> Iterator[str]:
    title = choose_name(exchange.typed)
    yield f"## {_plain(title)}"
    if title != exchange.typed.strip():
        yield _in_fence(exchange.typed)
    if exchange.asked_at:
        yield f"*Asked on {datetime.fromtimestamp(exchange.asked_at, UTC):%d %B %Y, %H:%M} UTC*"
    if exchange.searched and exchange.searched != exchange.typed:
        yield f"Searched for: {_plain(exchange.searched)}"
    for step in exchange.steps:
        yield f"### Part {step.number}: {_plain(step.question)}"
        yield _write_text(Checked(step.text, (), ()))
    several = len(exchange.drafts) > 1
    names_shown = not exchange.blind or exchange.vote is not None
    for number, draft in enumerate(exchange.drafts):
        if several:
            yield f"### {_name_draft(number, draft, names_shown=names_shown)}"
        elif exchange.steps:
            yield "### All together"
        yield from _write_draft(exchange, number, names_shown=names_shown)
    yield from _write_opinions(exchange)
    if exchange.evidence:
        passages = enumerate(exchange.evidence, start=1)
        yield "Evidence:\n\n" + "\n".join(_write_passage(number, hit) for number, hit in passages)


def _write_opinions(exchange: Exchange) -> Iterator[str]:
    if exchange.vote:
        yield f"Voted for: {exchange.vote}"
    if exchange.thumb:
        yield f"Thumb {exchange.thumb}" + (
            f", because: {_plain(exchange.reason)}" if exchange.reason else ""
        )


def _write_draft(exchange: Exchange, number: int, *, names_shown: bool) -> Iterator[str]:
    draft = exchange.drafts[number]
    if text := _write_text(check(exchange, number)):
        yield text
    for doubt in draft.answer.doubts if draft.answer else ():
        names = ", ".join(_in_code(name) for name in doubt.names)
        yield f"**In doubt:** {_write_citation(doubt.citation)} does not hold {names}."
    if draft.problem:
        yield f"**Broken off:** {_plain(draft.problem)}"
    elif draft.stopped:
        yield "**Stopped** before its end."
    elif draft.running:
        yield "**Still being written.**"
    if draft.answer and draft.answer.mode == "model" and names_shown:
        yield f"*Written by {_plain(draft.answer.model or 'a language model')}*"
    elif draft.answer and draft.answer.mode == "extractive" and not draft.answer.abstained:
        yield "*Quoted from the code*"


def _name_draft(number: int, draft: Draft, *, names_shown: bool) -> str:
    place = ("Left", "Right")[number] if number < 2 else f"Answer {number + 1}"
    return f"{place}: {_plain(draft.model or 'quotations')}" if names_shown else place


def _write_text(checked: Checked) -> str:
    """An answer with its citations as links, and with nothing that runs or loads."""
    links = {
        format_citation(citation.passage, citation.start_line, citation.end_line): (
            f"({_write_citation(citation)})"
        )
        for citation in checked.citations
    }
    marks = re.compile("|".join(re.escape(mark) for mark in links) or r"(?!)")
    parts = _CODE.split(_close_fence(checked.text))
    for index in range(0, len(parts), 2):  # code stands between them
        text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", parts[index]).replace("![", "&#33;[")
        parts[index] = marks.sub(lambda mark: links[mark[0]], text)
    text = "".join(parts).strip()
    return text if _is_harmless(text) else _in_fence(checked.text)


def _is_harmless(text: str) -> bool:
    """Whether Markdown has no HTML, no pictures, and no links but to the web or to files."""
    for token in _flatten(_reader().parse(text)):
        if token.type in ("html_block", "html_inline", "image"):
            return False
        if not _HARMLESS_LINK.match(str(token.attrGet("href") or "")):
            return False
    return True


def _flatten(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flatten(token.children or ())


@cache
def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": True})
    reader.validateLink = lambda url: True  # type: ignore[method-assign]  # judged here
    return reader


def _close_fence(text: str) -> str:
    """Close a code block that an answer leaves open: it would swallow what follows."""
    is_open = ""
    for line in text.splitlines():
        fence = _FENCE.fullmatch(line)
        if fence and not is_open:
            is_open = fence[1]
        elif fence and fence[1].startswith(is_open) and not fence[2].strip():
            is_open = ""
    return f"{text}\n{is_open}" if is_open else text


def _write_passage(number: int, hit: Hit) -> str:
    chunk = hit.chunk
    label = f"{chunk.path}#L{chunk.start_line}-L{chunk.end_line}"
    at = "uncommitted files" if chunk.commit == WORKTREE else chunk.commit[:SHORT_COMMIT]
    return f"{number}. {_write_link(label, hit.url)} in {_plain(f'{chunk.repo} ({at})')}"


def _write_citation(citation: Citation) -> str:
    return _write_link(citation.label, citation.url)


def _write_link(label: str, url: str | None) -> str:
    if url is None or urlsplit(url).scheme not in ("http", "https"):
        return _in_code(label)
    return f"[{_in_code(label)}]({quote(url, safe=URL_CHARACTERS)})"


def _plain(text: str) -> str:
    """Write a text on one line, so that nothing in it is markup."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _in_code(text: str) -> str:
    """Write a text as a span of code; the ticks around it are more than any in it."""
    text = " ".join(text.split())
    ticks = "`" * (_longest_run("`", text) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _in_fence(text: str) -> str:
    fence = "`" * max(_longest_run("`", text) + 1, 3)
    return f"{fence}text\n{text.strip()}\n{fence}"


def _longest_run(letter: str, text: str) -> int:
    return max((len(run) for run in re.findall(f"{re.escape(letter)}+", text)), default=0)
