"""The evidence beside an answer, as HTML: passages with numbered lines, the cited ones marked.

A citation in an answer leads to its line here by a plain anchor. Pure functions; every text of a
repository is escaped, and what cannot be seen in it is shown.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import urlsplit

from app.conversation import Exchange, check
from app.highlight import plain_lines
from data_tools.chunk import Chunk
from data_tools.hidden_text import show_on_one_line
from data_tools.languages import BY_NAME, Kind
from retrieval.citations import Citation
from retrieval.search import Hit

HOSTS = {
    "github": "GitHub",
    "gitlab": "GitLab",
    "bitbucket": "Bitbucket",
    "codeberg": "Codeberg",
    "gitea": "Gitea",
}
SHORT_COMMIT = 7  # characters
REL = "noopener noreferrer"  # of links out: no page learns which one they were clicked on
OPEN_PASSAGES = 2  # shown unfolded before it is known which ones are cited

# Seen on narrow screens only, where the answer is above the evidence.
_BACK = '<a class="back" href="#talk">↑ Answer</a>'

Highlight = Callable[[Chunk], Sequence[str]]


@dataclass(frozen=True)
class _Look:
    """What all passages share; see `evidence_html`."""

    highlight: Highlight
    name_repository: bool
    in_haste: bool


def evidence_html(
    exchanges: Sequence[Exchange],
    highlight: Highlight,
    *,
    name_repository: bool = False,
    in_haste: bool = False,
) -> str:
    """Render the evidence: of the last question in full, of earlier ones what they cite.

    :param highlight: makes safe HTML of each line of a chunk.
    :param name_repository: there are several, so each passage says which one it is of.
    :param in_haste: someone waits: passages that are folded are not highlighted.
    """
    if not exchanges:
        return (
            '<section class="nothing"><h2>Evidence</h2>'
            "<p>The passages that an answer rests on appear here, with their lines.</p></section>"
        )
    look = _Look(highlight, name_repository, in_haste)
    numbered = list(enumerate(exchanges, start=1))
    number, last = numbered.pop()
    earlier = (_earlier_html(exchange, number, look) for number, exchange in reversed(numbered))
    return _current_html(last, number, look) + "".join(earlier) + _BACK


def anchor(number: int, passage: int, line: int | None = None) -> str:
    """Name the place of a passage, or of one of its lines, on the page.

    :param number: of the exchange in the conversation, from 1.
    :param passage: of the evidence, from 1.
    """
    return f"a{number}p{passage}" + ("" if line is None else f"L{line}")


def count_of(number: int, noun: str) -> str:
    """Write a count with its noun."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def name_html(name: str) -> str:
    """Write the name of a file, a symbol or a repository as HTML that shows all of it."""
    return escape(show_on_one_line(name))


def is_web(address: str | None) -> bool:
    """Tell whether an address may become a link."""
    return urlsplit(address or "").scheme in ("http", "https")


def _current_html(exchange: Exchange, number: int, look: _Look) -> str:
    head, passages = "", ""
    if exchange.evidence is not None:
        cited = _find_cited(exchange)
        doubts = _find_doubts(exchange)
        unfolded = _choose_unfolded(exchange.evidence, cited)
        head = count_of(len(exchange.evidence), "passage")
        head += f", {len(cited)} cited" if cited else ""
        passages = "".join(
            _passage_html(
                (number, passage),
                hit,
                cited.get(passage, ()),
                look,
                is_open=passage in unfolded,
                doubts=doubts,
            )
            for passage, hit in enumerate(exchange.evidence, start=1)
        )
        passages = passages or "<p>No passage fits. The filters may leave out too much.</p>"
    elif exchange.running:
        head = "Searching…"
    return f'<section class="current"><h2>Evidence</h2><p>{head}</p>{passages}</section>'


def _earlier_html(exchange: Exchange, number: int, look: _Look) -> str:
    cited, doubts = _find_cited(exchange), _find_doubts(exchange)
    passages = "".join(
        _passage_html((number, passage), hit, cited[passage], look, is_open=True, doubts=doubts)
        for passage, hit in enumerate(exchange.evidence or (), start=1)
        if passage in cited
    )
    summary = f"<summary>Cited for “{escape(exchange.typed)}”</summary>"
    return f'<details class="earlier">{summary}{passages}</details>' if passages else ""


def _choose_unfolded(
    hits: Sequence[Hit], cited: Mapping[int, Sequence[Citation]]
) -> Collection[int]:
    """Choose the passages of which some lines are cited, else those cited whole, else the best."""
    in_part = [
        passage
        for passage, citations in cited.items()
        if any(not _is_whole(citation, hits[passage - 1].chunk) for citation in citations)
    ]
    return in_part or list(cited) or range(1, OPEN_PASSAGES + 1)


def _is_whole(citation: Citation, chunk: Chunk) -> bool:
    return (citation.start_line, citation.end_line) == (chunk.start_line, chunk.end_line)


def _find_cited(exchange: Exchange) -> dict[int, list[Citation]]:
    cited: dict[int, list[Citation]] = {}
    for draft in range(len(exchange.drafts)):
        for citation in check(exchange, draft).citations:
            if citation not in (found := cited.setdefault(citation.passage, [])):
                found.append(citation)
    return cited


def _find_doubts(exchange: Exchange) -> dict[Citation, list[str]]:
    """Collect what claims name and the lines that they cite do not hold."""
    doubts: dict[Citation, list[str]] = {}
    for draft in exchange.drafts:
        for doubt in draft.answer.doubts if draft.answer else ():
            doubts.setdefault(doubt.citation, []).extend(doubt.names)
    return doubts


def _passage_html(
    place: tuple[int, int],
    hit: Hit,
    citations: Sequence[Citation],
    look: _Look,
    *,
    is_open: bool,
    doubts: Mapping[Citation, Sequence[str]],
) -> str:
    chunk = hit.chunk
    folder, slash, name = chunk.path.rpartition("/")
    is_code = chunk.language in BY_NAME and BY_NAME[chunk.language].kind is Kind.CODE
    marked = _lines_of(citations)
    doubted = _lines_of([citation for citation in citations if citation in doubts])
    kind = "code" if is_code else "prose"
    if len(marked) == chunk.end_line - chunk.start_line + 1 > 1:
        kind += " whole"
    is_plain = look.in_haste and not is_open
    source = plain_lines(chunk.text) if is_plain else look.highlight(chunk)
    lines = "".join(
        f'<span class="line{" cited" * (line in marked)}{" doubted" * (line in doubted)}" '
        f'id="{anchor(*place, line)}" data-line="{line}">{html}\n</span>'
        for line, html in enumerate(source, chunk.start_line)
    )
    about = " › ".join(filter(None, [chunk.repo if look.name_repository else "", chunk.symbol]))
    about = name_html(about)
    return (
        f'<details class="passage{" cited" if citations else ""}"{_place_data(hit)} '
        f'id="{anchor(*place)}"{" open" * is_open}><summary><b class="number">{place[1]}</b>'
        f'<span class="path">{name_html(folder + slash).replace("/", "/<wbr>")}'
        f"<strong>{name_html(name)}</strong></span>"
        f'<span class="lines">{_say_lines(chunk.start_line, chunk.end_line)}</span></summary>'
        f'<div class="about"><span class="symbol" title="{about}">{about}</span>'
        f"{_permalinks_html(place, hit, citations)}</div>{_doubts_html(citations, doubts)}"
        f'<pre class="source {kind}"><code>{lines}</code></pre></details>'
    )


def _lines_of(citations: Sequence[Citation]) -> set[int]:
    return {line for c in citations for line in range(c.start_line, c.end_line + 1)}


def _doubts_html(citations: Sequence[Citation], doubts: Mapping[Citation, Sequence[str]]) -> str:
    notes = []
    for citation in citations:
        if names := dict.fromkeys(doubts.get(citation, ())):
            quoted = ", ".join(f"<code>{name_html(name)}</code>" for name in names)
            lines = _say_lines(citation.start_line, citation.end_line)
            notes.append(f'<p class="doubt">The answer cites {lines} for {quoted}: not there.</p>')
    return "".join(notes)


def _place_data(hit: Hit) -> str:
    """Write where a passage stands, for the viewer: `file_view.js`."""
    chunk = hit.chunk
    place = {
        "repo": chunk.repo,
        "path": chunk.path,
        "commit": chunk.commit,
        "start": chunk.start_line,
        "end": chunk.end_line,
        "url": hit.url if is_web(hit.url) else "",
    }
    return "".join(f' data-{name}="{escape(str(value))}"' for name, value in place.items())


def _permalinks_html(place: tuple[int, int], hit: Hit, citations: Sequence[Citation]) -> str:
    links = [
        f'<button type="button" class="open-file" data-place="#{anchor(*place)}" '
        f'aria-label="Open {name_html(hit.chunk.path)} at these lines">Open the file</button>'
    ]
    links += [
        _link_html(citation.url, f"cited {_say_lines(citation.start_line, citation.end_line)}")
        for citation in citations
        if citation.url
    ]
    if hit.url:
        labels = (urlsplit(hit.url).hostname or "").split(".")
        host = next((HOSTS[label] for label in labels if label in HOSTS), ".".join(labels))
        commit = hit.chunk.commit
        is_pinned = commit in hit.url  # pages of documentation sites are not
        what = f"at commit {commit[:SHORT_COMMIT]}" if is_pinned else "the page"
        links.append(_link_html(hit.url, f"open {what} on {host}"))
    return f'<span class="links">{"".join(links)}</span>'


def _link_html(address: str, text: str) -> str:
    if not is_web(address):
        return ""
    return f'<a href="{escape(address)}" target="_blank" rel="{REL}">{escape(text)}</a>'


def _say_lines(start: int, end: int) -> str:
    return f"L{start}" if start == end else f"L{start}–L{end}"
