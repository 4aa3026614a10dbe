"""What the page shows, as HTML: the header, the banner and the messages.

Pure functions. Every text of a repository, a model or a person is escaped, and nothing refers to
another host but links that a person clicks.
"""

from collections.abc import Iterator, Sequence
from html import escape

from app.conversation import Draft, Exchange, check
from app.evidence import SHORT_COMMIT, anchor, count_of, is_web
from app.markdown import cut_half_citation, render_markdown
from app.workspace import Status
from data_tools.progress import Progress
from data_tools.sources import WORKTREE
from retrieval.citations import Checked, Citation
from retrieval.generations import Manifest, RepositoryRecord


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
    if record.web_url and is_web(record.web_url):
        address = escape(f"{record.web_url}")
        name = f'<a href="{address}" target="_blank" rel="noopener">{name}</a>'
    return f'{name} <span class="counts">{record.files:,} files, {record.chunks:,} passages</span>'


def banner_html(status: Status) -> str:
    """Say what is in the making or went wrong; empty where all is well."""
    if status.error:
        what = (
            "Indexing failed, so there is nothing to ask about."
            if status.ready == "nothing"
            else "The index could not be brought up to date; answers come from the last one."
        )
        error = f"<span><strong>{what}</strong> {escape(status.error)}</span>"
        return _banner("problem", error, role="alert")
    if status.building:
        return _banner("busy", _progress_html(status))
    if status.ready == "words":
        return _banner(
            "missing",
            "<span>Only words can be searched, because the last indexing did not end. "
            "Run <code>codeqa index</code> again to have meaning searched too.</span>",
        )
    return ""


def _banner(kind: str, html: str, role: str = "status") -> str:
    return f'<div class="banner {kind}" role="{role}">{html}</div>'


def _progress_html(status: Status) -> str:
    progress = status.progress or Progress("clone")
    bar = "<progress></progress>"
    if progress.stage == "embed" and progress.total:
        bar = f'<progress value="{progress.done}" max="{progress.total}"></progress>'
    ahead = {
        "nothing": "",
        "words": "Words can be searched; meaning follows: ",
        "everything": "Answers come from the last index, while it is brought up to date: ",
    }[status.ready]
    text = ahead + _say_step(progress)
    return f"<span>{escape(text[:1].upper() + text[1:])}</span>{bar}"


def _say_step(progress: Progress) -> str:
    done, total = progress.done, progress.total
    match progress.stage:
        case "read":
            return f"reading files, {done:,} so far"
        case "parse":
            return f"parsing files, {done:,} so far"
        case "lexical":
            return "indexing words"
        case "lexical-ready":
            return "embedding passages"
        case "embed" if total:
            return f"embedding {done:,} of {total:,} passages ({done / total:.0%})"
        case "embed":
            return "finishing"
    return progress.message or "opening the repository"


def welcome_html(status: Status, names: Sequence[str]) -> str:
    """Render what stands in the empty conversation.

    :param names: of the repositories.
    """
    if names:
        about = " or ".join(f"<em>{escape(name)}</em>" for name in names[:3])
        title = f"Ask about {about}" if len(names) <= 3 else "Ask about your code"
        return _welcome(title, "Every answer cites the lines that it rests on.")
    if status.building:
        return _welcome("One moment", "You can ask as soon as the files are read.")
    commands = "".join(
        f'<p class="command"><code>{command}</code></p>'
        for command in ("make chat REPO=https://github.com/owner/name", "codeqa chat REPO")
    )
    text = "Start again with a repository, which is a git URL or a folder:"
    return _welcome("There is no index yet", text, commands)


def _welcome(title: str, text: str, more: str = "") -> str:
    return f'<div class="welcome"><h2>{title}</h2><p>{text}</p>{more}</div>'


def question_html(exchange: Exchange) -> str:
    """Render what a person asked, to the letter."""
    return f'<div class="asked">{escape(exchange.typed).replace(chr(10), "<br>")}</div>'


def answer_html(exchange: Exchange, number: int, draft: int = 0) -> str:
    """Render an answer, done or on its way.

    :param number: of the exchange in the conversation, from 1; its evidence has the same.
    :param draft: which of the answers that are compared, from 0.
    """
    parts = []
    now = exchange.drafts[draft]
    if exchange.searched and exchange.searched != exchange.typed:
        parts.append(f'<p class="searched">Searched for: {escape(exchange.searched)}</p>')
    checked = check(exchange, draft)
    links = {
        (c.passage, c.start_line, c.end_line): _citation_html(c, number) for c in checked.citations
    }
    text = cut_half_citation(checked.text) if now.running else checked.text
    body = render_markdown(text, links)
    if now.answer and now.answer.abstained:
        body = f'<p class="abstained">No answer found</p>\n\n{body}'
    if body:
        parts.append(body)
    elif now.running:
        parts.append(f'<p class="waiting" role="status">{_waiting_text(exchange)}</p>')
    if now.problem:
        parts.append(f'<div class="problem" role="alert">{escape(now.problem)}</div>')
    if footnotes := " · ".join(_footnotes(now, checked, words_only=exchange.words_only)):
        parts.append(f'<p class="footnotes">{footnotes[:1].upper() + footnotes[1:]}</p>')
    return "\n\n".join(parts)


def _waiting_text(exchange: Exchange) -> str:
    if exchange.evidence is None:
        return "Searching the code…"
    return f"Reading {count_of(len(exchange.evidence), 'passage')}…"


def _footnotes(draft: Draft, checked: Checked, *, words_only: bool) -> Iterator[str]:
    answer = draft.answer
    if draft.running:
        return
    if draft.stopped:
        yield "Stopped"
    if answer and answer.mode == "model":
        yield f"Written by {escape(answer.model or 'a language model')}"
    elif answer and not answer.abstained:
        yield "Quoted from the code"
    if words_only:
        yield "found by words alone, as meaning is still being indexed"
    if answer and not answer.abstained and not checked.citations:
        yield "cites nothing: check it before you rely on it"
    if dropped := len(checked.dropped):
        were = "was" if dropped == 1 else "were"
        yield f"{count_of(dropped, 'citation')} {were} not in the evidence and {were} removed"


def _citation_html(citation: Citation, number: int) -> str:
    name = citation.label.rpartition("/")[2]
    return (
        f'<a class="citation" href="#{anchor(number, citation.passage, citation.start_line)}" '
        f'title="{escape(citation.label)}"><b>{citation.passage}</b>{escape(name)}</a>'
    )
