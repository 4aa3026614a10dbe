"""The panel of repositories as HTML: what it says, and that nothing in it is trusted."""

import re

import pytest

from app.repositories_html import ASKING, MAX_SKIPPED, Behind, jobs_html, repositories_html
from app.workspace import Job, JobReport, Status
from data_tools.progress import Progress
from data_tools.secrets import FileSecrets
from data_tools.sources import WORKTREE, SkippedFile
from retrieval.generations import RepositoryRecord

EVIL = '<img src=x onerror="alert(1)">'
RECORD = RepositoryRecord(
    name="limits",
    location="https://github.com/ada/limits",
    ref=None,
    commit="c" * 40,
    committed_at=1,
    web_url="https://github.com/ada/limits",
    content_sha256="0" * 64,
    files=1,
    chunks=2_000,
    skipped=3,
)


def show(
    *records: RepositoryRecord, behind: Behind = 0, skipped: tuple[SkippedFile, ...] = ()
) -> str:
    return repositories_html(records, lambda _: skipped, lambda _: behind)


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (0, "up to date"),
        (1, "1 commit behind"),
        (2_000, "2,000 commits behind"),
        (ASKING, "looking for newer commits"),
        ("no answer", "how far behind is not known: no answer"),
        (None, "a folder"),
    ],
)
def test_how_far_behind_is_said(behind: Behind, said: str) -> None:
    html = show(RECORD, behind=behind)
    assert said in html
    assert "1 file, 2,000 passages" in html


def test_only_one_of_several_can_be_removed() -> None:
    alone, both = show(RECORD), show(RECORD, RECORD.model_copy(update={"name": "stars"}))
    assert 'data-do="remove" data-name="limits" disabled' in alone
    assert "add another one first" in alone
    assert "update-all" not in alone
    assert "disabled" not in both
    assert "update-all" in both


def test_skipped_files_are_grouped_by_reason_and_bounded() -> None:
    many = [
        SkippedFile("limits", f"{n}.png", f"binary ({n} bytes)") for n in range(MAX_SKIPPED + 7)
    ]
    html = show(RECORD, skipped=(*many, SkippedFile("limits", "b.min.js", "minified")))
    assert re.findall(r"<summary>([^<]*)</summary>", html) == [
        "58 files skipped",
        "57: binary",
        "1: minified",
    ]
    assert html.count(".png") == MAX_SKIPPED
    assert "and 7 more" in html


def test_no_text_of_a_repository_becomes_html() -> None:
    evil = RECORD.model_copy(
        update={
            "name": EVIL,
            "location": f"https://u:secret@evil.example/{EVIL}",
            "commit": WORKTREE,
        }
    )
    evil = evil.model_copy(update={"web_url": "javascript:alert(1)"})
    html = show(evil, behind=EVIL, skipped=(SkippedFile(EVIL, EVIL, EVIL),))
    html += jobs_html(Status("words", True), [Job(EVIL), Job(EVIL)], None)
    html += jobs_html(Status("words", False), [], JobReport(Job(EVIL), 1.0, EVIL))
    assert "<img" not in html
    assert "javascript:" not in html
    assert "secret" not in html


def test_a_job_shows_its_step_and_what_waits() -> None:
    status = Status("everything", True, Progress("embed", 30, 120))
    html = jobs_html(status, [Job("Adding https://h/x"), Job("Updating limits")], None)
    assert "<strong>Adding https://h/x</strong>: embedding 30 of 120 passages (25%)" in html
    assert '<progress value="30" max="120">' in html
    assert "<li>Updating limits</li>" in html


def test_what_came_of_the_last_job_is_said() -> None:
    done = Status("everything", False)
    added = JobReport(Job("Adding x", ("x",)), 2.04, None, (RECORD,), 7, True)
    assert (
        "limits: 1 file, 2,000 passages, 3 files skipped. 7 passages embedded in 2.0 s."
        in jobs_html(done, [], added)
    )
    removed = JobReport(Job("Removing limits", remove=("limits",)), 0.01, changed=True)
    assert "limits removed in 0.1 s." in jobs_html(done, [], removed)
    assert "nothing has changed" in jobs_html(done, [], JobReport(Job("Updating limits"), 1.0))
    assert jobs_html(done, [], None) == ""


def test_what_was_redacted_is_said_by_kind_and_file() -> None:
    record = RECORD.model_copy(update={"redacted": {"AWS key": 2, "password": 1}})
    places = ((EVIL, "AWS key", 2), ("b.py", "password", 1))
    secrets = [FileSecrets("limits", *place) for place in places]
    html = repositories_html([record], lambda _: (), lambda _: 0, lambda _: secrets)
    assert "<summary>3 secrets redacted (AWS key: 2, password: 1)</summary>" in html
    assert "<li>b.py (password: 1)</li>" in html
    assert EVIL not in html
    report = JobReport(Job("Adding limits"), 1.0, records=(record,), changed=True)
    done = jobs_html(Status("everything", False), (), report)
    assert "3 files skipped, 3 secrets redacted (AWS key: 2, password: 1)" in done
