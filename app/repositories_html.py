"""The panel of repositories, as HTML: what is indexed, what is being done, what came of it.

Pure functions. Every text of a repository or a person is escaped. Buttons say what they do in
`data-do`; the panel listens (`app.page_repositories`).
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape

from app.evidence import REL, SHORT_COMMIT, count_of, is_web, name_html
from app.render import say_step
from app.workspace import Job, JobReport, Status
from data_tools.progress import Progress
from data_tools.secrets import FileSecrets, say_redacted
from data_tools.sources import WORKTREE, SkippedFile, is_site, plain_location
from retrieval.generations import RepositoryRecord

Behind = int | str | None  # commits; or why that is not known; None where no one can tell

MAX_SKIPPED = 50  # files named for one reason
# Sizes and addresses, which set equal reasons apart.
_NUMBERS = re.compile(r" \((?=[^()]*?(?:\d|://))[^()]*\)")

ASKING = "asking…"


def repositories_html(
    records: Sequence[RepositoryRecord],
    skipped: Callable[[str], Sequence[SkippedFile]],
    behind: Callable[[RepositoryRecord], Behind],
    redacted: Callable[[str], Sequence[FileSecrets]] = lambda _: (),
) -> str:
    """Render the list of repositories.

    :param skipped: the files of a repository that are not indexed.
    :param redacted: the files of a repository that secrets were taken out of.
    :param behind: how many commits the index lacks.
    """
    if not records:
        return "<p>Nothing is indexed yet.</p>"
    rows = "".join(
        _row_html(
            record,
            _skipped_html(skipped(record.name)) + _redacted_html(record, redacted(record.name)),
            behind(record),
            is_only=len(records) == 1,
        )
        for record in records
    )
    update_all = ""
    if len(records) > 1:
        update_all = '<button type="button" data-do="update-all">Update all</button>'
    return f'<ul class="rows">{rows}</ul>{update_all}'


def jobs_html(status: Status, jobs: Sequence[Job], report: JobReport | None) -> str:
    """Render what is being done and what waits, or what came of the last job."""
    if jobs:
        now, *waiting = jobs
        lines = "".join(f"<li>{escape(job.what)}</li>" for job in waiting)
        queue = f'<ul class="waiting" aria-label="Waiting">{lines}</ul>' if waiting else ""
        progress = status.progress or Progress("clone")
        bar = "<progress></progress>"
        if progress.total:
            bar = f'<progress value="{progress.done}" max="{progress.total}"></progress>'
        return (
            f'<div class="job"><p><strong>{escape(now.what)}</strong>: '
            f'{escape(say_step(progress))}</p>{bar}<button type="button" data-do="cancel">Cancel'
            f"</button>{queue}<p>Questions are answered from the last index meanwhile.</p></div>"
        )
    if report is None:
        return ""
    if report.problem:
        return f'<p class="failure">{escape(report.problem)}</p>'
    return f'<p class="done">{escape(_say_report(report))}</p>'


def _say_report(report: JobReport) -> str:
    time = f"in {max(report.seconds, 0.1):.1f} s"
    if report.job.remove:
        return f"{', '.join(report.job.remove)} removed {time}."
    if not report.records:
        return f"{report.job.what}: nothing has changed."
    parts = [
        f"{record.name}: {count_of(record.files, 'file')}, {count_of(record.chunks, 'passage')}, "
        f"{count_of(record.skipped, 'file')} skipped"
        + (f", {say_redacted(record.redacted)}" if record.redacted else "")
        for record in report.records
    ]
    return f"{'; '.join(parts)}. {count_of(report.embedded, 'passage')} embedded {time}."


def _row_html(record: RepositoryRecord, details: str, behind: Behind, *, is_only: bool) -> str:
    name = escape(record.name)
    title = f"<strong>{name_html(record.name)}</strong>"
    if record.web_url and is_web(record.web_url):
        link = f'href="{escape(record.web_url)}" target="_blank" rel="{REL}"'
        title = f"<a {link}>{title}</a>"
    at = "uncommitted files" if record.commit == WORKTREE else record.commit[:SHORT_COMMIT]
    remove = (
        f'<button type="button" data-do="remove" data-name="{name}"'
        f'{" disabled" if is_only else ""} aria-label="Remove {name}">Remove</button>'
    )
    if is_only:
        why = "The only repository cannot be removed: add another one first"
        remove = f'<span title="{why}">{remove}</span>'
    return (
        f'<li><div class="head"><h3>{title} <code>{escape(at)}</code></h3>'
        f'<button type="button" data-do="update" data-name="{name}" aria-label="Update {name}">'
        f"Update</button>{remove}</div>"
        f'<p class="location">{escape(plain_location(record.location))}</p>'
        f"<p>{count_of(record.files, 'file')}, {count_of(record.chunks, 'passage')}"
        f"{_behind_html(record, behind)}</p>{details}</li>"
    )


def _behind_html(record: RepositoryRecord, behind: Behind) -> str:
    if isinstance(behind, str):
        if behind == ASKING:
            return ' · <span class="behind">looking for newer commits…</span>'
        return f' · <span class="behind">how far behind is not known: {escape(behind)}</span>'
    if behind is None:
        what = "its pages are read again by an update" if is_site(record.location) else "a folder"
        return f' · <span class="behind">{what}</span>'
    if behind == 0:
        return ' · <span class="behind">up to date</span>'
    return f' · <strong class="behind">{count_of(behind, "commit")} behind</strong>'


def _skipped_html(skipped: Sequence[SkippedFile]) -> str:
    if not skipped:
        return ""
    reasons = Counter(_NUMBERS.sub("", file.reason) for file in skipped)
    groups = []
    for reason, number in reasons.most_common():
        paths = [file.path for file in skipped if _NUMBERS.sub("", file.reason) == reason]
        items = "".join(f"<li>{name_html(path)}</li>" for path in paths[:MAX_SKIPPED])
        rest = len(paths) - MAX_SKIPPED
        more = f"<li>and {rest:,} more</li>" if rest > 0 else ""
        groups.append(
            f"<details><summary>{number:,}: {escape(reason)}</summary><ul>{items}{more}</ul>"
            "</details>"
        )
    return (
        f'<details class="skipped"><summary>{count_of(len(skipped), "file")} skipped</summary>'
        f"{''.join(groups)}</details>"
    )


def _redacted_html(record: RepositoryRecord, secrets: Sequence[FileSecrets]) -> str:
    if not secrets:
        return ""
    items = "".join(
        f"<li>{name_html(found.path)} ({escape(found.kind)}: {found.count:,})</li>"
        for found in secrets[:MAX_SKIPPED]
    )
    rest = len(secrets) - MAX_SKIPPED
    more = f"<li>and {rest:,} more</li>" if rest > 0 else ""
    return (
        f'<details class="skipped"><summary>{escape(say_redacted(record.redacted))}</summary>'
        f"<ul>{items}{more}</ul></details>"
    )
