"""An answer's Markdown as safe HTML, with its citations as links.

Answers quote repositories and are written by models: nothing in them is trusted. HTML is shown
as text, images become their description, what cannot be seen is shown, and only web links and our
own citations can be clicked. So nothing is loaded until a person clicks; and a link says which host
it leads to, because its address may carry off what the model was shown.

Every top-level block becomes one HTML element, so that a page can leave those alone that are done
while the next one streams.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from app.highlight import highlight_lines
from data_tools.hidden_text import show_hidden

Links = Mapping[tuple[int, int, int], str]

_CITATION = re.compile(r"\[(\d{1,3}):L(\d{1,7})-L(\d{1,7})\]")
_HALF_CITATION = re.compile(r"\s*\[\d{1,3}(?::[L\d\s–-]*)?\Z")
_NEWLINE = re.compile(r"\r\n?|\n")
_HOST = r"(?P<host>[a-z\d.-]+|\[[a-f\d:.]+\])"  # other letters are punycode by then
_ADDRESS = re.compile(rf"https?://{_HOST}(?::\d+)?(?:[/?#]\S*)?", re.IGNORECASE)


def render_blocks(text: str, citations: Links) -> list[str]:
    """Render an answer.

    :param citations: (passage, first line, last line) → the HTML that stands for it; a citation
        that is not among them stays as it is.
    :return: safe HTML, one element a block.
    """
    environment = {"citations": citations, "open_links": []}
    reader = _reader()
    blocks: list[list[Token]] = [[]]
    for token in reader.parse(show_hidden(text), environment):
        blocks[-1].append(token)
        if token.level == 0 and token.nesting <= 0:
            blocks.append([])
    rendered = (reader.renderer.render(block, reader.options, environment) for block in blocks)
    return [html.strip() for html in rendered if html]


def block_starts(text: str) -> list[int]:
    """Find where the top-level blocks of an answer begin, in characters."""
    offsets = [0, *(match.end() for match in _NEWLINE.finditer(text))]
    if len(offsets) == 1:
        return offsets
    tokens = _reader().parse(text, {"citations": {}, "open_links": []})
    return [
        offsets[token.map[0]]
        for token in tokens
        if token.level == 0 and token.nesting >= 0 and token.map
    ]


def cut_half_citation(text: str) -> str:
    """Leave out a citation at the end that is not complete yet, so that it does not flash up."""
    return _HALF_CITATION.sub("", text)


@cache
def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    reader.validateLink = lambda url: True  # type: ignore[method-assign]  # judged when rendered
    reader.inline.ruler.before("link", "citation", _read_citation)
    for name, render in (
        ("citation", _render_citation),
        ("fence", _render_code),
        ("code_block", _render_code),
        ("image", _render_image),
        ("link_open", _open_link),
        ("link_close", _close_link),
        ("table_open", lambda *_: '<div class="table"><table>'),
        ("table_close", lambda *_: "</table></div>"),
    ):
        reader.add_render_rule(name, render)
    return reader


def _read_citation(state: StateInline, silent: bool) -> bool:
    match = _CITATION.match(state.src, state.pos)
    if not match or state.linkLevel:
        return False
    passage, start, end = map(int, match.groups())
    html = state.env["citations"].get((passage, start, end))
    if html is None:
        return False
    if not silent:
        state.push("citation", "", 0).content = html
    state.pos = match.end()
    return True


def _render_citation(_: RendererHTML, tokens: Sequence[Token], index: int, *__: object) -> str:
    return tokens[index].content


def _render_code(_: RendererHTML, tokens: Sequence[Token], index: int, *__: object) -> str:
    token = tokens[index]
    language = (token.info.split() or ["text"])[0].lower()
    lines = "&#10;".join(highlight_lines(token.content, language))
    return f'<div class="code"><pre><code>{lines}</code></pre></div>'


def _render_image(_: RendererHTML, tokens: Sequence[Token], index: int, *__: object) -> str:
    return escape(tokens[index].content)


def _open_link(
    _: RendererHTML, tokens: Sequence[Token], index: int, __: OptionsDict, env: dict[str, Any]
) -> str:
    address = str(tokens[index].attrGet("href") or "")
    host = _host_of(address)
    said = "".join(token.content for token in tokens[index + 1 : _end_of_link(tokens, index)])
    env["open_links"].append((host, _host_of(said)))
    if host is None:  # a path in some repository, or worse
        return "<span>"
    where = f'href="{escape(address)}" title="{escape(address)}"'
    return f'<a {where} target="_blank" rel="noopener noreferrer nofollow">'


def _close_link(
    _: RendererHTML, __: Sequence[Token], ___: int, ____: OptionsDict, env: dict[str, Any]
) -> str:
    host, said = env["open_links"].pop()
    if host is None:
        return "</span>"
    return "</a>" if said == host else f'</a> <span class="host">({escape(host)})</span>'


def _end_of_link(tokens: Sequence[Token], index: int) -> int:
    return next(at for at in range(index, len(tokens)) if tokens[at].type == "link_close")


def _host_of(address: str) -> str | None:
    """Return the host of an address that leads to the web; None for any other text."""
    match = _ADDRESS.fullmatch(address)
    return match["host"].lower() if match else None
