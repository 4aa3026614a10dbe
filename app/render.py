"""What the page shows, as HTML: the header, the banner, the messages and the evidence.

Pure functions. Every text of a repository, a model or a person is escaped, and nothing refers to
another host but links that a person clicks.
"""

from collections.abc import Callable, Sequence
from html import escape
from urllib.parse import urlsplit

from app.citations import Citation
from app.conversation import Exchange, check
from app.markdown import cut_half_citation, render_markdown
from app.workspace import Status
from data_tools.chunk import Chunk
from data_tools.languages import BY_NAME, Kind
from data_tools.sources import WORKTREE
from retrieval.build import Progress
from retrieval.generations import Manifest, RepositoryRecord
from retrieval.index import Hit

HOSTS = {
    "github": "GitHub",
    "gitlab": "GitLab",
    "bitbucket": "Bitbucket",
    "codeberg": "Codeberg",
    "gitea": "Gitea",
}
SHORT_COMMIT = 7  # characters
OPEN_PASSAGES = 2  # shown unfolded before it is known which ones are cited

Highlight = Callable[[Chunk], Sequence[str]]


def page_title(manifest: Manifest | None) -> str:
    """Name the page after what can be asked about."""
    names = [record.name for record in manifest.repositories] if manifest else []
    return f"codeqa · {', '.join(names)}" if names else "codeqa"


def header_html(manifest: Manifest | None, model: str | None) -> str:
    """Render the name, the repositories at their commits, and who writes the answers."""
    repositories = "".join(
        f"<li>{_repository_html(record)}</li>"
        for record in (manifest.repositories if manifest else ())
    )
    listing = f'<ul class="repositories" aria-label="Indexed repositories">{repositories}</ul>'
    return (
        f'<header class="masthead"><h1>codeqa</h1>{listing if repositories else ""}'
        f'<p class="mode">{mode_html(model)}</p></header>'
    )


def mode_html(model: str | None) -> str:
    """Say who writes the answers."""
    if model:
        return f"Answers by <strong>{escape(model)}</strong>"
    return (
        "Answers are quoted from the code; no language model is connected "
        "(start with <code>--llm URL</code> to have one)"
    )


def _repository_html(record: RepositoryRecord) -> str:
    at = "uncommitted files" if record.commit == WORKTREE else record.commit[:SHORT_COMMIT]
    name = f"<strong>{escape(record.name)}</strong> <code>{escape(at)}</code>"
    if record.web_url and _is_web(record.web_url):
        address = escape(f"{record.web_url}")
        name = f'<a href="{address}" target="_blank" rel="noopener">{name}</a>'
    return f'{name} <span class="counts">{record.files:,} files, {record.chunks:,} passages</span>'


def _is_web(address: str) -> bool:
    return urlsplit(address).scheme in ("http", "https")


def banner_html(status: Status) -> str:
    """Say what is in the making or went wrong; empty where all is well."""
    if status.error:
        old = status.ready != "nothing"
        what = (
            "The index could not be brought up to date; answers come from the one before. "
            if old
            else "There is nothing to ask about: indexing failed. "
        )
        return _banner("problem", f"{what}<br><span>{escape(status.error)}</span>", role="alert")
    if status.building:
        return _banner("busy", _progress_html(status))
    if status.ready == "nothing":
        return _banner(
            "missing",
            "There is no index yet. Stop this server, and start it with a repository: "
            "<code>make chat REPO=https://github.com/owner/name</code> or "
            "<code>codeqa chat REPO</code>, where <code>REPO</code> is a git URL or a folder.",
        )
    if status.ready == "words":
        return _banner(
            "missing",
            "Only words can be searched, because the last indexing did not end. "
            "Run <code>codeqa index</code> again to have meaning searched too.",
        )
    return ""


def _banner(kind: str, html: str, role: str = "status") -> str:
    return f'<div class="banner {kind}" role="{role}">{html}</div>'


def _progress_html(status: Status) -> str:
    progress = status.progress or Progress("clone", message="starting")
    if progress.stage in ("embed", "lexical-ready"):
        ahead = "meaning follows"
        doing = "embedding"
    else:
        ahead, doing = "", {"lexical": "indexing words"}.get(progress.stage, "")
    if progress.stage == "read":
        doing = f"reading, {progress.done:,} files so far"
    elif progress.stage in ("clone", "notice"):
        doing = progress.message or "opening"
    bar = "<progress></progress>"
    if progress.stage == "embed" and progress.total:
        share = progress.done / progress.total
        doing += f" {progress.done:,} of {progress.total:,} passages ({share:.0%})"
        bar = f'<progress value="{progress.done}" max="{progress.total}"></progress>'
    start = {
        "nothing": "",
        "words": "Words can be searched; ",
        "everything": "An update is on its way, answers come from the index before it: ",
    }[status.ready]
    text = start + (f"{ahead}: " if status.ready == "words" and ahead else "") + doing
    return f"<span>{escape(text[:1].upper() + text[1:])}</span>{bar}"


def welcome_html(names: Sequence[str]) -> str:
    """Render what stands in the empty conversation."""
    about = " or ".join(f"<em>{escape(name)}</em>" for name in names[:3]) or "your code"
    return (
        f'<div class="welcome"><h2>Ask about {about}</h2>'
        "<p>Every answer cites the lines that it rests on.</p></div>"
    )


def question_html(exchange: Exchange) -> str:
    """Render what a person asked, to the letter."""
    return f'<div class="asked">{escape(exchange.typed).replace(chr(10), "<br>")}</div>'


def answer_html(exchange: Exchange, number: int) -> str:
    """Render an answer, done or on its way.

    :param number: of the exchange in the conversation, from 1; its evidence has the same.
    """
    parts = []
    if exchange.searched and exchange.searched != exchange.typed:
        parts.append(f'<p class="searched">Searched for: {escape(exchange.searched)}</p>')
    checked = check(exchange)
    links = {
        (c.passage, c.start_line, c.end_line): _citation_html(c, number) for c in checked.citations
    }
    text = cut_half_citation(checked.text) if exchange.running else checked.text
    body = render_markdown(text, links)
    if exchange.answer and exchange.answer.abstained:
        body = f'<p class="abstained">No answer found</p>\n\n{body}'
    if body:
        parts.append(body)
    elif exchange.running:
        parts.append(f'<p class="waiting" role="status">{_waiting_text(exchange)}</p>')
    if exchange.problem:
        parts.append(f'<div class="problem" role="alert">{escape(exchange.problem)}</div>')
    if footnotes := _footnotes(exchange, len(checked.citations), len(checked.dropped)):
        parts.append(f'<p class="footnotes">{" · ".join(footnotes)}</p>')
    return "\n\n".join(parts)


def _waiting_text(exchange: Exchange) -> str:
    if exchange.evidence is None:
        return "Searching the code…"
    return f"Reading {_count(len(exchange.evidence), 'passage')}…"


def _footnotes(exchange: Exchange, cited: int, dropped: int) -> list[str]:
    notes = []
    if exchange.stopped:
        notes.append("Stopped")
    if exchange.answer:
        by = exchange.answer.model if exchange.answer.mode == "model" else None
        notes.append(f"Written by {escape(by)}" if by else "Quoted from the code")
    if exchange.words_only and not exchange.running:
        notes.append("found by words alone, as meaning is still being indexed")
    if exchange.answer and exchange.answer.mode == "model" and not cited:
        notes.append("cites nothing: check it yourself")
    if dropped and not exchange.running:
        were = "was" if dropped == 1 else "were"
        notes.append(f"{_count(dropped, 'citation')} {were} not in the evidence and {were} removed")
    return notes


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _citation_html(citation: Citation, number: int) -> str:
    name = citation.label.rpartition("/")[2]
    return (
        f'<a class="citation" href="#{_anchor(number, citation.passage, citation.start_line)}" '
        f'title="{escape(citation.label)}"><b>{citation.passage}</b>{escape(name)}</a>'
    )


def _anchor(number: int, passage: int, line: int | None = None) -> str:
    return f"a{number}p{passage}" + (f"L{line}" if line is not None else "")


def evidence_html(exchanges: Sequence[Exchange], highlight: Highlight) -> str:
    """Render the evidence: of the last question in full, of earlier ones what they cite.

    :param highlight: makes one line of HTML of each line of a chunk.
    """
    if not exchanges:
        return (
            '<div class="nothing"><h2>Evidence</h2>'
            "<p>The passages that an answer rests on appear here, with their lines.</p></div>"
        )
    last = exchanges[-1]
    parts = [_current_html(last, len(exchanges), highlight)]
    for number in range(len(exchanges) - 1, 0, -1):
        exchange = exchanges[number - 1]
        if cited := _cited_lines(exchange):
            passages = "".join(
                _passage_html(hit, number, passage, cited[passage], highlight, is_open=True)
                for passage, hit in enumerate(exchange.evidence or (), start=1)
                if passage in cited
            )
            parts.append(
                f'<details class="earlier"><summary>{escape(exchange.typed)}</summary>'
                f"{passages}</details>"
            )
    return "".join(parts)


def _current_html(exchange: Exchange, number: int, highlight: Highlight) -> str:
    title = "<h2>Evidence</h2>"
    if exchange.evidence is None:
        note = "" if not exchange.running else "<p>Searching…</p>"
        return f'<section class="current">{title}{note}</section>'
    cited = _cited_lines(exchange)
    passages = "".join(
        _passage_html(
            hit,
            number,
            passage,
            cited.get(passage, ()),
            highlight,
            is_open=passage in cited if cited else passage <= OPEN_PASSAGES,
        )
        for passage, hit in enumerate(exchange.evidence, start=1)
    )
    found = _count(len(exchange.evidence), "passage")
    used = f", {len(cited)} cited" if cited else ""
    return f'<section class="current">{title}<p>{found}{used}</p>{passages or _NOTHING_FOUND}</section>'


_NOTHING_FOUND = "<p>No passage fits. Filters may leave out too much.</p>"


def _cited_lines(exchange: Exchange) -> dict[int, list[Citation]]:
    cited: dict[int, list[Citation]] = {}
    for citation in check(exchange).citations:
        cited.setdefault(citation.passage, []).append(citation)
    return cited


def _passage_html(
    hit: Hit,
    number: int,
    passage: int,
    citations: Sequence[Citation],
    highlight: Highlight,
    *,
    is_open: bool,
) -> str:
    chunk = hit.chunk
    folder, slash, name = chunk.path.rpartition("/")
    kind = BY_NAME[chunk.language].kind if chunk.language in BY_NAME else Kind.CODE
    marked = {line for c in citations for line in range(c.start_line, c.end_line + 1)}
    lines = "\n".join(
        f'<span class="line{" cited" if line in marked else ""}" '
        f'id="{_anchor(number, passage, line)}" data-line="{line}">{html or " "}</span>'
        for line, html in enumerate(highlight(chunk), chunk.start_line)
    )
    symbol = f'<span class="symbol">{escape(chunk.symbol)}</span>' if chunk.symbol else ""
    return (
        f'<details class="passage{" cited" if citations else ""}" '
        f'id="{_anchor(number, passage)}"{" open" if is_open else ""}>'
        f'<summary><b class="number">{passage}</b>'
        f'<span class="path">{escape(folder + slash)}<strong>{escape(name)}</strong></span>'
        f'<span class="lines">{_lines_text(chunk.start_line, chunk.end_line)}</span></summary>'
        f'<div class="about">{symbol}{_permalinks_html(hit, citations)}</div>'
        f'<pre class="source {"prose" if kind is not Kind.CODE else "code"}">'
        f"<code>{lines}</code></pre></details>"
    )


def _lines_text(start: int, end: int) -> str:
    return f"L{start}" if start == end else f"L{start}–L{end}"


def _permalinks_html(hit: Hit, citations: Sequence[Citation]) -> str:
    links = [
        _link_html(c.url, f"cited {_lines_text(c.start_line, c.end_line)}", "the cited lines")
        for c in citations
        if c.url and _is_web(c.url)
    ]
    if hit.url and _is_web(hit.url):
        labels = (urlsplit(hit.url).hostname or "").split(".")
        host = next((HOSTS[label] for label in labels if label in HOSTS), labels[0])
        commit = hit.chunk.commit[:SHORT_COMMIT]
        links.append(_link_html(hit.url, f"open at commit {commit} on {host}", "the passage"))
    return f'<span class="links">{"".join(links)}</span>' if links else ""


def _link_html(address: str, text: str, title: str) -> str:
    return (
        f'<a href="{escape(address)}" title="Open {title} in a new tab" target="_blank" '
        f'rel="noopener">{escape(text)}</a>'
    )
