"""What the page says: who answers, what is in the making, what came of a question."""

import pytest

from app.answer import Answer
from app.conversation import Draft, Exchange
from app.render import answer_html, banner_html, header_html, question_html, welcome_html
from app.workspace import Status
from data_tools.progress import Progress
from retrieval.citations import Citation
from retrieval.generations import EmbedderRecord, Manifest, RepositoryRecord
from retrieval.search import Hit
from tests.fakes import MakeChunk

CITED = Citation(1, "limits", "src/bucket.py", 1, 2, None)


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


def make_answer(hit: Hit, **fields: object) -> Answer:
    made: dict[str, object] = {
        "question": "How?",
        "text": "So [1:L1-L2].",
        "citations": (CITED,),
        "dropped": (),
        "evidence": (hit,),
        "mode": "model",
        "model": "stub-7b",
        "abstained": False,
        "words_only": False,
    }
    return Answer(**(made | fields))  # type: ignore[arg-type]


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
    assert "<code>--llm URL</code>" in header_html(None, None)
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


def test_a_question_is_shown_to_the_letter() -> None:
    assert question_html(Exchange("<b>\n*x*")) == '<div class="asked">&lt;b&gt;<br>*x*</div>'


def test_an_answer_is_waited_for_in_words(make_chunk: MakeChunk) -> None:
    assert "Searching the code…" in answer_html(Exchange("How?"), 1)
    found = Exchange("How?", evidence=(Hit(1.0, make_chunk(), None),))
    assert "Reading 1 passage…" in answer_html(found, 1)


def test_citations_lead_to_the_evidence_while_the_answer_streams(make_chunk: MakeChunk) -> None:
    hit = Hit(1.0, make_chunk(), None)
    html = answer_html(
        Exchange("How?", evidence=(hit,), drafts=(Draft(text="So [1:L1-L2] and [1:L"),)), 3
    )
    assert 'href="#a3p1L1" title="src/bucket.py#L1-L2"><b>1</b>bucket.py#L1-L2</a> and</p>' in html


def test_a_finished_answer_says_where_it_comes_from(make_chunk: MakeChunk) -> None:
    hit = Hit(1.0, make_chunk(), None)
    by_model = Exchange("How?", evidence=(hit,), drafts=(Draft(text="x", answer=make_answer(hit)),))
    assert "Written by stub-7b" in answer_html(by_model, 1)
    quoted = Exchange(
        "?",
        evidence=(hit,),
        drafts=(Draft(answer=make_answer(hit, mode="extractive", model=None)),),
    )
    assert "Quoted from the code" in answer_html(quoted, 1)


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        (("[9]",), "1 citation was not in the evidence and was removed"),
        (("[8]", "[9]"), "2 citations were not in the evidence and were removed"),
    ],
)
def test_removed_citations_are_reported(make_chunk: MakeChunk, dropped, words) -> None:
    hit = Hit(1.0, make_chunk(), None)
    exchange = Exchange(
        "How?", evidence=(hit,), drafts=(Draft(answer=make_answer(hit, dropped=dropped)),)
    )
    assert words in answer_html(exchange, 1)


def test_an_answer_that_cites_nothing_is_doubted(make_chunk: MakeChunk) -> None:
    hit = Hit(1.0, make_chunk(), None)
    answer = make_answer(hit, text="So.", citations=())
    assert "cites nothing" in answer_html(
        Exchange("How?", evidence=(hit,), drafts=(Draft(answer=answer),)), 1
    )


def test_no_answer_looks_different_from_one(make_chunk: MakeChunk) -> None:
    hit = Hit(1.0, make_chunk(), None)
    answer = make_answer(hit, abstained=True, mode="extractive", model=None)
    html = answer_html(Exchange("How?", evidence=(hit,), drafts=(Draft(answer=answer),)), 1)
    assert '<p class="abstained">No answer found</p>' in html
    assert "Quoted" not in html


def test_the_rewrite_the_problem_and_the_stop_are_said() -> None:
    html = answer_html(
        Exchange("And?", searched="And <b>?", drafts=(Draft(text="It", problem="<down>"),)), 1
    )
    assert "Searched for: And &lt;b&gt;?" in html
    assert '<div class="problem" role="alert">&lt;down&gt;</div>' in html
    assert "Stopped" in answer_html(Exchange("How?", drafts=(Draft(text="It", stopped=True),)), 1)


def test_words_alone_are_said(make_chunk: MakeChunk) -> None:
    hit = Hit(1.0, make_chunk(), None)
    exchange = Exchange(
        "How?", evidence=(hit,), words_only=True, drafts=(Draft(answer=make_answer(hit)),)
    )
    assert "found by words alone" in answer_html(exchange, 1)
