"""Source code as lines of highlighted HTML, by Pygments.

Colours are left to `web.css`: tokens only get classes, so that light and dark differ by style
alone. All text is escaped, and what cannot be seen in it is shown: text that is turned round would
read as another program than it is. Code that is too long or that no lexer reads stays plain.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from html import escape
from typing import Any

from data_tools.chunk import Chunk
from data_tools.hidden_text import show_hidden
from data_tools.text import split_lines

MAX_CHARS = 100_000  # lexers read about a megabyte a second, and a person waits
PASSAGE_CHARS = 8_000  # longer texts are files, of which fewer are remembered
MAX_LINE_CHARS = 2_000  # longer lines are data, and slow to match
CLASS_PREFIX = "hl-"
MARKS = ('"""', "'''", "```", "~~~")  # what opens and closes a text of several lines alike
BRACKETS = (("/*", "*/"), ("<!--", "-->"))  # … and what does not
LEXERS = {  # our names for languages → those of Pygments, where they differ
    "asciidoc": "text",
    "jupyter": "markdown",
    "restructuredtext": "rst",
    "svelte": "html",
    "vue": "html",
}


def highlight_passage(chunk: Chunk, file_text: str) -> Sequence[str]:
    """Highlight a chunk, as a part of its file where it starts inside a docstring or a comment.

    A whole file takes ten times as long as a passage, and nearly every passage starts outside.

    :param file_text: the whole file; the chunk stands alone where it is not, or no longer, of it.
    :return: as `highlight_lines` does, for the lines of the chunk.
    """
    span = slice(chunk.start_line - 1, chunk.end_line)
    lines = split_lines(file_text)
    fits = len(file_text) <= MAX_CHARS and "".join(lines[span]) == chunk.text
    if fits and _ends_inside("".join(lines[: span.start])):
        return highlight_lines("".join(lines[: span.stop]), chunk.language)[span]
    return highlight_lines(chunk.text, chunk.language)


def _ends_inside(text: str) -> bool:
    """Whether a text may end inside a string, a comment or a fence of several lines."""
    return any(text.count(mark) % 2 for mark in MARKS) or any(
        text.rfind(opening) > text.rfind(closing) for opening, closing in BRACKETS
    )


def plain_lines(text: str) -> tuple[str, ...]:
    """Return what `highlight_lines` does, with no colours and in no time."""
    return tuple(escape(line.rstrip("\r\n")) for line in split_lines(show_hidden(text)))


def highlight_lines(text: str, language: str) -> tuple[str, ...]:
    """Highlight code.

    :param language: of `data_tools.languages`, or any name that Pygments knows.
    :return: safe HTML for each line of `split_lines(text)`, without newlines; each stands alone.
    """
    return (_passages if len(text) <= PASSAGE_CHARS else _files)(text, language)


def _highlight(text: str, language: str) -> tuple[str, ...]:
    lines = [line.rstrip("\r\n") for line in split_lines(show_hidden(text))]
    if len(text) <= MAX_CHARS and all(len(line) <= MAX_LINE_CHARS for line in lines):
        import pygments

        marked = str(pygments.highlight("\n".join(lines), _lexer(language), _formatter()))
        highlighted = marked.removesuffix("\n").split("\n")
        if len(highlighted) == len(lines):
            return tuple(highlighted)
    return plain_lines(text)


_passages = lru_cache(maxsize=1_024)(_highlight)  # of a hundred people who ask at once
_files = lru_cache(maxsize=64)(_highlight)  # each may take ten times its size in memory


@cache
def _lexer(language: str) -> Any:  # noqa: ANN401
    from pygments.lexers import get_lexer_by_name
    from pygments.lexers.special import TextLexer
    from pygments.util import ClassNotFound

    options = {"stripnl": False, "ensurenl": True}
    try:
        return get_lexer_by_name(LEXERS.get(language, language), **options)
    except ClassNotFound:
        return TextLexer(**options)


@cache
def _formatter() -> Any:  # noqa: ANN401
    # By its module: the package makes its names when it is loaded, which another thread may see.
    from pygments.formatters.html import HtmlFormatter

    return HtmlFormatter(nowrap=True, classprefix=CLASS_PREFIX)
