"""A conversation as Markdown: whole, with links that last, and without surprises."""

from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from app.answer import Answer, Doubt, Step
from app.conversation import Draft, Exchange
from app.conversation_markdown import conversation_markdown
from retrieval.citations import check_citations
from retrieval.search import Hit
from tests.fakes import MakeChunk

WEB_URL = "https://github.com/ada/limits"
LINK = f"{WEB_URL}/blob/{'c' * 40}/src/bucket.py#L1-L2"
EVIL = "<img src=x onerror=alert(1)> ![](http://evil/x.png) [a](javascript:alert(1)) <!-- "


def make_exchange(
    make_chunk: MakeChunk, text: str, *, path: str = "src/bucket.py", typed: str = "How?"
) -> Exchange:
    chunk = make_chunk(path=path)
    hit = Hit(1.0, chunk, f"{WEB_URL}/blob/{chunk.commit}/{path}#L1-L2")
    checked = check_citations(text, [chunk], {"limits": WEB_URL})
    answer = Answer(
        question=typed,
        text=checked.text,
        citations=checked.citations,
        dropped=checked.dropped,
        evidence=(hit,),
        mode="model",
        model="tuned_1",
        abstained=False,
        words_only=False,
        doubts=tuple(Doubt(citation, ("refill",)) for citation in checked.citations),
    )
    return Exchange(
        typed, evidence=(hit,), drafts=(Draft("tuned_1", text, answer),), asked_at=1_795_000_000.0
    )


def kinds(markdown: str) -> set[str]:
    """The kinds of all tokens that a reader finds, HTML allowed."""
    tokens = MarkdownIt("commonmark", {"html": True}).parse(markdown)
    return {t.type for token in tokens for t in (token, *(token.children or ()))}


def test_an_answer_links_to_the_lines_at_the_indexed_commit(make_chunk: MakeChunk) -> None:
    exchange = make_exchange(make_chunk, "It takes one [1:L1-L2].")
    exchange = replace(exchange, searched="How does take work?", thumb="down", reason="*short*")
    assert conversation_markdown("About *buckets*", [exchange]) == (
        "# About \\*buckets\\*\n\n"
        "## How?\n\n"
        "*Asked on 18 November 2026, 11:06 UTC*\n\n"
        "Searched for: How does take work?\n\n"
        f"It takes one ([`src/bucket.py#L1-L2`]({LINK})).\n\n"
        f"**In doubt:** [`src/bucket.py#L1-L2`]({LINK}) does not hold `refill`.\n\n"
        "*Written by tuned\\_1*\n\n"
        "Thumb down, because: \\*short\\*\n\n"
        "Evidence:\n\n"
        f"1. [`src/bucket.py#L1-L2`]({LINK}) in limits (ccccccc)\n"
    )


def test_what_broke_off_and_what_was_stopped_is_said(make_chunk: MakeChunk) -> None:
    failed = Exchange("One?", drafts=(Draft("m", "Half", problem="the server_is down"),))
    stopped = Exchange("Two?", drafts=(Draft("m", "Half", stopped=True),))
    markdown = conversation_markdown("Name", [failed, stopped, Exchange("Three?")])
    assert "Half\n\n**Broken off:** the server\\_is down" in markdown
    assert "Half\n\n**Stopped** before its end." in markdown
    assert "## Three?\n\n**Still being written.**" in markdown


def test_a_blind_comparison_names_no_model_before_the_vote(make_chunk: MakeChunk) -> None:
    one = make_exchange(make_chunk, "It takes one.")
    blind = replace(one, drafts=(one.drafts[0], Draft("base", "No.")), blind=True)
    markdown = conversation_markdown("Name", [blind])
    assert "### Left" in markdown and "### Right" in markdown
    assert "tuned" not in markdown and "base" not in markdown
    voted = conversation_markdown("Name", [replace(blind, vote="right")])
    assert "### Left: tuned\\_1" in voted and "### Right: base" in voted
    assert "Voted for: right" in voted


def test_the_parts_of_a_question_stand_before_the_whole(make_chunk: MakeChunk) -> None:
    exchange = make_exchange(make_chunk, "All.")
    step = Step(1, "Which <b>part</b>?", "This.", (), abstained=False)
    markdown = conversation_markdown("Name", [replace(exchange, steps=(step,))])
    assert "### Part 1: Which \\<b\\>part\\</b\\>?\n\nThis.\n\n### All together\n\nAll." in markdown


@pytest.mark.parametrize(
    "text", [EVIL, f"\\`{EVIL}`", f"`a\nb` {EVIL} `", f"``` {EVIL} ```\n{EVIL}"]
)
def test_nothing_in_an_answer_runs_or_loads(make_chunk: MakeChunk, text: str) -> None:
    markdown = conversation_markdown("Name", [make_exchange(make_chunk, text)])
    assert not kinds(markdown) & {"html_block", "html_inline", "image"}
    assert "](javascript:" not in markdown or "```text" in markdown


@pytest.mark.parametrize(
    "path", ["a](javascript:x)[b", "`tick``s`", "<b>.py", "a|b*c_d.py", "![x](y)", " leading"]
)
def test_paths_and_questions_stay_text(make_chunk: MakeChunk, path: str) -> None:
    exchange = make_exchange(make_chunk, "So [1].", path=path, typed=f"{path}\n# {EVIL}")
    markdown = conversation_markdown(path, [exchange])
    assert not kinds(markdown) & {"html_block", "html_inline", "image"}
    html = MarkdownIt("commonmark").render(markdown)
    assert html.count("<a ") == 3  # the citation, its doubt, the evidence
    assert html.count(f'href="{WEB_URL}/blob/') == 3
    assert html.count("<h1>") == 1 and html.count("<h2>") == 1


def test_code_that_an_answer_leaves_open_does_not_swallow_the_rest(make_chunk: MakeChunk) -> None:
    broken = Exchange("One?", drafts=(Draft("m", "Look:\n```py\nx = 1", problem="gone"),))
    markdown = conversation_markdown("Name", [broken, Exchange("Two?")])
    assert MarkdownIt("commonmark").render(markdown).count("<h2>") == 2


def test_code_in_an_answer_is_as_it_was(make_chunk: MakeChunk) -> None:
    text = "Use `a < b`:\n\n```py\nif a < b: x = '<b>'\n```"
    assert text in conversation_markdown("Name", [make_exchange(make_chunk, text)])
