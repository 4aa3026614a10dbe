"""What the page says around a conversation: who answers, what is in the making, what to ask."""

import pytest

from app.render import banner_html, header_html, welcome_html
from app.workspace import Status
from data_tools.progress import Progress
from retrieval.generations import EmbedderRecord, Manifest, RepositoryRecord


def make_manifest(web_url: str | None, commit: str = "0123456789" * 4) -> Manifest:
    record = RepositoryRecord(
        name="limits<b>",
        location="/src/limits",
        ref=None,
        commit=commit,
        committed_at=None,
        web_url=web_url,
        content_sha256="",
        files=1234,
        chunks=5678,
        skipped=0,
    )
    return Manifest(
        format=1,
        embedder=EmbedderRecord(name="fake", fingerprint="fake"),
        repositories=(record,),
        chunks=5678,
        vectors=5678,
        created_at=0.0,
    )


def test_the_header_names_repositories_commits_and_counts() -> None:
    html = header_html(make_manifest("https://github.com/ada/limits"), None)
    assert '<a href="https://github.com/ada/limits"' in html
    assert "limits&lt;b&gt;" in html
    assert "<code>0123456</code>" in html
    assert "1,234 files, 5,678 passages" in html


def test_the_header_links_nowhere_without_a_page() -> None:
    html = header_html(make_manifest(None, "worktree"), None)
    assert "<a" not in html
    assert "uncommitted files" in html


def test_the_header_says_who_answers() -> None:
    assert "no language model is connected" in header_html(None, None)
    assert "<code>--llm</code>" in header_html(None, None)
    assert "Answers by <strong>qwen&lt;7b&gt;</strong>" in header_html(None, "qwen<7b>")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status("nothing", True), "Opening the repository"),
        (
            Status("nothing", True, Progress("clone", message="cloning: 45% <b>")),
            "Cloning: 45% &lt;b&gt;",
        ),
        (Status("nothing", True, Progress("read", 1312)), "Reading files, 1,312 so far"),
        (Status("nothing", True, Progress("lexical", 0, 4061)), "Indexing words"),
        (
            Status("words", True, Progress("embed", 1024, 4061)),
            "Words can be searched; meaning follows: embedding 1,024 of 4,061 passages (25%)",
        ),
        (Status("words", True, Progress("embed", 0, 0)), "meaning follows: finishing"),
        (
            Status("everything", True, Progress("read", 3)),
            "Answers come from the last index, while it is brought up to date: reading files, 3",
        ),
        (Status("words", False), "Only words can be searched"),
        (Status("nothing", False, error="no <space> left"), "no &lt;space&gt; left"),
        (Status("everything", False, error="offline"), "answers come from the last one"),
    ],
)
def test_the_banner_says_how_far_the_index_is(status: Status, words: str) -> None:
    assert words in banner_html(status)


def test_the_banner_shows_the_share_that_is_embedded() -> None:
    html = banner_html(Status("words", True, Progress("embed", 1024, 4061)))
    assert '<progress value="1024" max="4061">' in html


def test_the_banner_goes_when_all_is_well() -> None:
    assert banner_html(Status("everything", False)) == ""


def test_the_welcome_says_what_to_do() -> None:
    assert "Ask about <em>a&amp;b</em>" in welcome_html(Status("everything", False), ["a&b"])
    assert "as soon as" in welcome_html(Status("nothing", True), [])
    assert "make chat REPO=" in welcome_html(Status("nothing", False), [])
    assert "codeqa chat REPO" in welcome_html(Status("nothing", False), [])


def test_the_welcome_offers_questions_to_click() -> None:
    html = welcome_html(Status("everything", False), ["limits"], ["What is <b>?"])
    assert 'data-ask="What is &lt;b&gt;?">What is &lt;b&gt;?</button>' in html


def test_the_header_opens_the_conversations_and_the_repositories() -> None:
    html = header_html(None, None)
    assert 'id="unfold" aria-controls="conversations" aria-label="Conversations"' in html
    assert 'id="open-repositories"' in html
