"""An exchange as HTML: what was asked, what came of it, what one may do next."""

import pytest

from app.conversation import Draft, Exchange
from app.events import Answer, Doubt, Step, Usage
from app.render_exchange import blocks_of, exchange_html, parts_of, question_html
from retrieval.citations import Citation
from retrieval.search import Hit
from tests.fakes import MakeChunk

CITED = Citation(1, "limits", "src/bucket.py", 1, 2, None)


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


def answer_html(exchange: Exchange, number: int) -> str:
    """The draft of an exchange: head, text and foot."""
    parts = parts_of(exchange, number)
    return f"{parts['question']}{''.join(blocks_of(exchange, number))}{parts['foot0']}"


def test_a_question_is_shown_to_the_letter() -> None:
    assert '<div class="asked">&lt;b&gt;<br>*x*</div>' in question_html(Exchange("<b>\n*x*"))


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


def done(hit: Hit, **fields: object) -> Exchange:
    """An exchange with one whole answer."""
    return Exchange(
        "How?", id="e1", evidence=(hit,), drafts=(Draft(answer=make_answer(hit, **fields)),)
    )


@pytest.fixture
def hit(make_chunk: MakeChunk) -> Hit:
    return Hit(1.0, make_chunk(), None)


def test_a_claim_in_doubt_says_which_names_are_not_in_its_lines(hit: Hit) -> None:
    exchange = done(hit, doubts=(Doubt(CITED, ("gone<b>",)), Doubt(CITED, ("gone<b>", "lost"))))
    text = "".join(blocks_of(exchange, 1))
    assert 'class="citation doubted"' in text
    assert "In doubt: these lines do not hold gone&lt;b&gt;, lost" in text
    foot = parts_of(exchange, 1)["foot0"]
    assert foot.count("<strong>In doubt:</strong>") == 1
    assert "<code>gone&lt;b&gt;</code>, <code>lost</code>" in foot


def test_parts_are_shown_as_they_come_and_folded_when_all_is_done(hit: Hit) -> None:
    step = Step(1, "What is <a>?", "It is [1:L1-L2] `so`.", (hit,), abstained=False)
    exchange = Exchange("Both?", parts=("What is <a>?", "And b?"), steps=(step,))
    html = parts_of(exchange, 1)["steps"]
    assert '<details class="steps" open>' in html
    assert "What is &lt;a&gt;?" in html
    assert "<code>so</code>" in html
    assert "[1:L1-L2]" not in html
    assert "From 1 passage" in html
    assert "Searching and reading…" in html
    assert "Answering part 2 of 2…" in "".join(blocks_of(exchange, 1))
    finished = Exchange("Both?", parts=exchange.parts, drafts=(Draft(stopped=True),))
    assert "open>" not in parts_of(finished, 1)["steps"]
    assert "Not begun" in parts_of(finished, 1)["steps"]


def test_related_questions_can_be_clicked(hit: Hit) -> None:
    foot = parts_of(done(hit, related=('What is "b"?',)), 1)["foot0"]
    assert '<nav aria-label="Related questions">' in foot
    assert 'data-ask="What is &quot;b&quot;?"' in foot


def test_what_waits_and_what_is_not_kept_is_said() -> None:
    waiting = Exchange("How?", waiting="Waiting for <its> turn.")
    assert "Waiting for &lt;its&gt; turn." in "".join(blocks_of(waiting, 1))
    unsaved = Exchange("How?", unsaved="the disk is full", drafts=(Draft(stopped=True),))
    assert "the disk is full" in parts_of(unsaved, 1)["verdict"]


@pytest.mark.parametrize(
    ("draft", "offered"),
    [
        (Draft(), False),
        (Draft(text="So", problem="it died"), True),
        (Draft(stopped=True), True),
    ],
)
def test_what_broke_off_can_be_tried_again(draft: Draft, offered: bool) -> None:
    assert ('data-do="retry"' in parts_of(Exchange("How?", drafts=(draft,)), 1)["verdict"]) == (
        offered
    )


def test_a_running_exchange_can_be_neither_judged_nor_edited() -> None:
    html = exchange_html(Exchange("How?", id="e1"), 1)
    for action in ("edit", "rate", "vote", "retry"):
        assert f'data-do="{action}"' not in html


def test_a_thumb_asks_for_the_reason(hit: Hit) -> None:
    exchange = done(hit)
    assert "reason" not in parts_of(exchange, 1)["verdict"]
    rated = Exchange("How?", id="e1", drafts=exchange.drafts, thumb="down", reason='too "short"')
    html = parts_of(rated, 1)["verdict"]
    assert 'data-thumb="down" aria-pressed="true"' in html
    assert 'data-thumb="up" aria-pressed="false"' in html
    assert 'value="too &quot;short&quot;"' in html


def compared(hit: Hit, *, blind: bool, vote: object = None) -> Exchange:
    """Two whole answers side by side."""
    usage = Usage(0.1, 0.2, 1.5, calls=1)
    drafts = tuple(
        Draft(model=name, answer=make_answer(hit, model=name, draft=number, usage=usage))
        for number, name in enumerate(("base<7b>", "tuned"))
    )
    return Exchange("How?", evidence=(hit,), drafts=drafts, blind=blind, vote=vote)  # type: ignore[arg-type]


def test_compared_answers_bear_the_names_of_their_models(hit: Hit) -> None:
    html = exchange_html(compared(hit, blind=False), 1)
    assert "Left: base&lt;7b&gt;" in html
    assert "Right: tuned" in html
    assert html.count('class="message bot"') == 2
    assert html.count("1.5 s") == 2


def test_a_blind_comparison_tells_nothing_before_the_vote(hit: Hit) -> None:
    html = exchange_html(compared(hit, blind=True), 1)
    for told in ("base", "tuned", "1.5 s"):
        assert told not in html
    assert "named after your vote" in html
    voted = exchange_html(compared(hit, blind=True, vote="right"), 1)
    assert "Right: tuned" in voted
    assert 'data-winner="right" aria-pressed="true"' in voted


def test_there_is_no_vote_on_half_a_comparison(hit: Hit) -> None:
    exchange = compared(hit, blind=False)
    broken = Exchange("How?", drafts=(exchange.drafts[0], Draft(model="tuned", problem="it died")))
    html = parts_of(broken, 1)["verdict"]
    assert 'data-do="vote"' not in html
    assert 'data-do="retry"' in html
