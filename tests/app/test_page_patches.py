"""What a browser is sent of a conversation: what has changed, and no more."""

from dataclasses import replace

import pytest

from app.conversation import Conversation, Draft, Exchange
from app.events import Answer
from app.page_patches import REDRAW_S, SLOWEST_S, Pace, Patches
from retrieval.citations import Citation
from retrieval.search import Hit
from tests.fakes import MakeChunk


@pytest.fixture
def hits(make_chunk: MakeChunk) -> tuple[Hit, ...]:
    return (Hit(1.0, make_chunk(), None),)


def make_patches(shown: str | None = None) -> Patches:
    return Patches(lambda exchanges: f"evidence of {len(exchanges)}", shown)


def finished(identifier: str, hits: tuple[Hit, ...]) -> Exchange:
    citation = Citation(1, "limits", "src/bucket.py", 1, 2, None)
    answer = Answer("?", f"It is {identifier}.", (citation,), (), hits, "model", "m", False, False)
    return Exchange("How?", id=identifier, evidence=hits, drafts=(Draft(answer=answer),))


def test_a_new_browser_is_sent_everything(hits: tuple[Hit, ...]) -> None:
    patch = make_patches().make((finished("a", hits), finished("b", hits)))
    assert patch["keep"] == 0
    assert ["It is a." in patch["exchanges"][0], "It is b." in patch["exchanges"][1]] == [True] * 2
    assert patch["evidence"] == "evidence of 2"
    assert patch["running"] == []


def test_what_a_browser_shows_already_is_not_sent_again(hits: tuple[Hit, ...]) -> None:
    patch = make_patches("a").make((finished("a", hits), finished("b", hits)))
    assert patch["keep"] == 1
    assert len(patch["exchanges"]) == 1
    assert "It is b." in patch["exchanges"][0]


def test_where_nothing_has_changed_nothing_is_sent(hits: tuple[Hit, ...]) -> None:
    patches = make_patches()
    patches.make((finished("a", hits),))
    assert patches.make((finished("a", hits),)) == {}


def test_an_answer_is_sent_by_its_new_blocks(hits: tuple[Hit, ...]) -> None:
    patches = make_patches()
    exchange = Exchange("How?", id="a")
    first = patches.make((exchange,))
    assert "Searching the code" in first["exchanges"][0]
    assert first["running"] == ["a"]
    found = replace(exchange, evidence=hits)
    patch = patches.make((found,))
    assert patch["evidence"] == "evidence of 1"
    assert patch["last"]["texts"]["0"] == [0, ['<p class="waiting">Reading 1 passage…</p>']]
    assert patch["say"] == "Reading 1 passage…"

    def write(text: str) -> dict[str, object]:
        return patches.make((replace(found, drafts=(Draft(text=text),)),))

    patch = write("One [1:L1-L2].\n\nTw")
    assert patch["last"]["texts"]["0"][0] == 0  # type: ignore[index]
    assert patch["last"]["cited"] == [(1, 1, 2)]  # type: ignore[index]
    patch = write("One [1:L1-L2].\n\nTwo.\n\nThree")
    assert patches.only_text
    assert patch == {
        "last": {"texts": {"0": [1, ["<p>Two.</p>", "<p>Three</p>"]]}, "cited": [(1, 1, 2)]}
    }
    done = patches.make((finished("a", hits),))
    assert done["running"] == []
    assert done["evidence"] == "evidence of 1"  # now with its links
    assert "Written by m" in done["last"]["parts"]["foot0"]
    assert done["say"] == "The answer is complete."


def test_a_replaced_exchange_takes_those_after_it_along(hits: tuple[Hit, ...]) -> None:
    patches = make_patches()
    before: Conversation = tuple(finished(name, hits) for name in "abc")
    patches.make(before)
    patch = patches.make((before[0], finished("d", hits)))
    assert patch["keep"] == 1
    assert ["It is d." in html for html in patch["exchanges"]] == [True]


def test_a_deleted_conversation_is_empty(hits: tuple[Hit, ...]) -> None:
    patches = make_patches()
    patches.make((finished("a", hits),))
    assert patches.make(()) == {
        "keep": 0,
        "exchanges": [],
        "evidence": "evidence of 0",
        "running": [],
        "say": "",
    }


def test_a_failure_is_announced() -> None:
    patch = make_patches().make((Exchange("How?", id="a", drafts=(Draft(problem="it died"),)),))
    assert patch["say"] == "No answer: it died"


def test_the_more_follow_the_slower_all_are_redrawn() -> None:
    pace = Pace()
    pace.followers = 1
    assert pace.pause_s(0.0) == REDRAW_S
    assert pace.pause_s(0.0195) == pytest.approx(0.2)  # a tenth of the time, sending included
    pace.followers = 60
    assert pace.pause_s(0.0005) == pytest.approx(0.4)  # 60 of them take 0.15 processors
    assert pace.pause_s(1.0) == SLOWEST_S


def test_only_new_text_is_drawn_where_it_was_asked_for(hits: tuple[Hit, ...]) -> None:
    found = Exchange("How?", id="a", evidence=hits)
    patches = make_patches()
    assert not patches.is_quick((found,))  # nothing is shown yet
    patches.make((found,))
    written = replace(found, drafts=(Draft(text="It takes one."),))
    assert patches.is_quick((written,))
    assert not patches.is_quick((replace(written, drafts=(Draft(stopped=True),)),))
    assert not patches.is_quick((written, Exchange("And?", id="b")))
    assert not patches.is_quick((replace(written, evidence=()),))
