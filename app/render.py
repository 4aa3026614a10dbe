"""What stands around a conversation, as HTML: the header, the banner and the welcome.

Pure functions. Every text of a repository, a model or a person is escaped, and nothing refers to
another host but links that a person clicks.
"""

from collections.abc import Sequence
from html import escape

from app.evidence import REL, SHORT_COMMIT, count_of, is_web, name_html
from app.icons import icon
from app.workspace import Status
from data_tools.progress import Progress
from data_tools.sources import WORKTREE
from retrieval.generations import Manifest, RepositoryRecord


def header_html(manifest: Manifest | None, model: str | None) -> str:
    """Render the name, the repositories at their commits, and who writes the answers."""
    repositories = "".join(
        f"<li>{_repository_html(record)}</li>"
        for record in (manifest.repositories if manifest else ())
    )
    listing = f'<ul class="repositories" aria-label="Indexed repositories">{repositories}</ul>'
    return (
        '<header class="masthead"><button type="button" class="quiet" id="unfold" '
        f'aria-controls="conversations" aria-label="Conversations" title="Conversations">'
        f"{icon('menu')}</button><h1>codeqa</h1>{listing if repositories else ''}"
        f'<p class="mode">{mode_html(model)}</p>'
        '<button type="button" class="plain" id="open-repositories" aria-haspopup="dialog">'
        "Repositories</button>"
        "</header>"
    )


def mode_html(model: str | None) -> str:
    """Say who writes the answers."""
    if model:
        return f"Answers by <strong>{escape(model)}</strong>"
    return "Quotations: no language model is connected (<code>--llm</code>)"


def _repository_html(record: RepositoryRecord) -> str:
    at = "uncommitted files" if record.commit == WORKTREE else record.commit[:SHORT_COMMIT]
    name = f"<strong>{name_html(record.name)}</strong> <code>{escape(at)}</code>"
    if record.web_url and is_web(record.web_url):
        address = escape(f"{record.web_url}")
        name = f'<a href="{address}" target="_blank" rel="{REL}">{name}</a>'
    counts = f"{count_of(record.files, 'file')}, {count_of(record.chunks, 'passage')}"
    return f'{name} <span class="counts">{counts}</span>'


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
    text = ahead + say_step(progress)
    return f"<span>{escape(text[:1].upper() + text[1:])}</span>{bar}"


def say_step(progress: Progress) -> str:
    """Say what is being done, in words."""
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


def welcome_html(status: Status, names: Sequence[str], examples: Sequence[str] = ()) -> str:
    """Render what stands in the empty conversation.

    :param names: of the repositories.
    :param examples: questions to click.
    """
    if names:
        about = " or ".join(f"<em>{name_html(name)}</em>" for name in names[:3])
        title = f"Ask about {about}" if len(names) <= 3 else "Ask about your code"
        buttons = "".join(
            f'<button type="button" class="example" data-ask="{escape(question)}">'
            f"{escape(question)}</button>"
            for question in examples
        )
        text = "Every answer cites the lines that it rests on."
        return _welcome(title, text, f'<div class="examples">{buttons}</div>' if buttons else "")
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
