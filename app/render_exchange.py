"""An exchange on the page, as HTML in parts: question, steps, drafts, and what one may do next.

Parts have names, so that the page replaces those alone that have changed: `question`, `steps`,
`verdict`, and `head`, `text` and `foot` with the number of a draft. Pure functions; every text of
a repository, a model or a person is escaped.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from app.conversation import Draft, Exchange, check
from app.events import Answer, Step
from app.evidence import anchor, count_of, name_html
from app.growing_answer import link_citations
from app.icons import icon
from app.markdown import cut_half_citation, render_blocks
from retrieval.citations import Checked, Citation, without_citations

SIDES = ("Left", "Right")
VERDICTS = {
    "left": "Left is better",
    "right": "Right is better",
    "tie": "Both are as good",
    "neither": "Neither is good",
}


def exchange_html(exchange: Exchange, number: int) -> str:
    """Render a whole exchange.

    :param number: of the exchange in the conversation, from 1; its evidence has the same.
    """
    parts = parts_of(exchange, number)
    several = len(exchange.drafts) > 1
    drafts = "".join(
        f'<section class="message bot" aria-label="{_name_of(exchange, draft) or "Answer"}">'
        f"{_part(parts, f'head{draft}')}"
        f'<div class="md" data-part="text{draft}">{"".join(blocks_of(exchange, number, draft))}'
        f"</div>{_part(parts, f'foot{draft}')}</section>"
        for draft in range(len(exchange.drafts))
    )
    return (
        f'<article class="exchange" id="x{number}" data-exchange="{escape(exchange.id)}" '
        f'aria-label="Question {number}">{_part(parts, "question")}{_part(parts, "steps")}'
        f'<div class="drafts{" several" if several else ""}">{drafts}</div>'
        f"{_part(parts, 'verdict')}</article>"
    )


def parts_of(exchange: Exchange, number: int) -> dict[str, str]:
    """Render all parts of an exchange but the texts of its drafts; see `blocks_of`."""
    parts = {
        "question": question_html(exchange),
        "steps": steps_html(exchange),
        "verdict": _verdict_html(exchange),
    }
    for draft in range(len(exchange.drafts)):
        parts[f"head{draft}"] = _head_html(exchange, draft)
        parts[f"foot{draft}"] = _foot_html(exchange, draft)
    return parts


def blocks_of(exchange: Exchange, number: int, draft: int = 0) -> list[str]:
    """Render the text of a draft, done or on its way; each block is one HTML element."""
    checked = check(exchange, draft)
    links = link_citations(checked.citations, citation_link(exchange, number, draft))
    running = exchange.drafts[draft].running
    text = cut_half_citation(checked.text) if running else checked.text
    return frame_blocks(exchange, draft, render_blocks(text, links))


def frame_blocks(exchange: Exchange, draft: int, blocks: Sequence[str]) -> list[str]:
    """Put before the text that it is no answer, or in its place what is waited for."""
    now = exchange.drafts[draft]
    if now.answer and now.answer.abstained:
        return ['<p class="abstained">No answer found</p>', *blocks]
    if not blocks and now.running:
        return [f'<p class="waiting">{say_progress(exchange)}</p>']
    return list(blocks)


def say_progress(exchange: Exchange) -> str:
    """Say in words what is going on before there is any text."""
    if exchange.waiting:
        return escape(exchange.waiting)
    if exchange.parts and len(exchange.steps) < len(exchange.parts):
        return f"Answering part {len(exchange.steps) + 1} of {len(exchange.parts)}…"
    if exchange.evidence is None:
        return "Searching the code…"
    return f"Reading {count_of(len(exchange.evidence), 'passage')}…"


def citation_link(exchange: Exchange, number: int, draft: int = 0) -> "LinkOf":
    """Make the function that renders a citation as a link to its lines."""
    answer = exchange.drafts[draft].answer
    return LinkOf(number, _names_in_doubt(answer))


class LinkOf:
    """Renders citations of one draft, those in doubt marked as such."""

    def __init__(self, number: int, doubts: Mapping[Citation, Sequence[str]]) -> None:
        self._number = number
        self._doubts = doubts

    def __call__(self, citation: Citation) -> str:
        """Render a citation."""
        name = name_html(citation.label.rpartition("/")[2])
        place = anchor(self._number, citation.passage, citation.start_line)
        title, kind, mark = citation.label, "citation", ""
        if names := self._doubts.get(citation):
            doubt = f"In doubt: these lines do not hold {', '.join(names)}"
            title, kind = f"{citation.label}. {doubt}", "citation doubted"
            mark = f'<span class="hidden">. {escape(doubt)}</span>'
        return (
            f'<a class="{kind}" href="#{place}" title="{name_html(title)}">'
            f"<b>{citation.passage}</b>{name}{mark}</a>"
        )


def question_html(exchange: Exchange) -> str:
    """Render what a person asked, to the letter, and what it was understood as."""
    asked = escape(exchange.typed).replace("\n", "<br>")
    edit = "" if exchange.running else _button("edit", "Edit and ask again", icon("edit"))
    understood = ""
    if exchange.searched and exchange.searched != exchange.typed:
        understood = f'<p class="searched">Searched for: {escape(exchange.searched)}</p>'
    return f'<div class="user"><div class="asked">{asked}</div>{edit}</div>{understood}'


def steps_html(exchange: Exchange) -> str:
    """Render the parts that a question was broken up into, folded once the answer is there."""
    if not exchange.parts:
        return ""
    done = {step.number: step for step in exchange.steps}
    items = "".join(
        _step_html(question, done.get(number), busy=exchange.running and number == len(done) + 1)
        for number, question in enumerate(exchange.parts, start=1)
    )
    is_open = " open" if exchange.running else ""
    return (
        f'<details class="steps"{is_open}><summary>Answered in '
        f"{count_of(len(exchange.parts), 'part')}</summary><ol>{items}</ol></details>"
    )


def _step_html(question: str, step: Step | None, *, busy: bool) -> str:
    if step is None:
        state = "Searching and reading…" if busy else "Not begun"
        return f'<li><p>{escape(question)}</p><p class="waiting">{state}</p></li>'
    found = count_of(len(step.hits), "passage")
    text = "".join(render_blocks(without_citations(step.text), {}))
    said = f"No answer found in {found}" if step.abstained else f"From {found}"
    return f'<li><p>{escape(question)}</p>{text}<p class="footnotes">{said}</p></li>'


def _head_html(exchange: Exchange, draft: int) -> str:
    name = _name_of(exchange, draft)
    return f'<h3 class="side">{name}</h3>' if name else ""


def _name_of(exchange: Exchange, draft: int) -> str:
    """Name a draft that is compared; its model is not told before a blind vote."""
    if len(exchange.drafts) == 1:
        return ""
    side = SIDES[draft] if draft < len(SIDES) else f"Answer {draft + 1}"
    if is_hidden(exchange):
        return side
    return f"{side}: {escape(exchange.drafts[draft].model or 'quotations')}"


def is_hidden(exchange: Exchange) -> bool:
    """Whether the models' names are not to be shown yet."""
    return exchange.blind and exchange.vote is None


def _foot_html(exchange: Exchange, draft: int) -> str:
    now = exchange.drafts[draft]
    if now.running:
        return ""
    parts = []
    if now.problem:
        parts.append(f'<div class="problem" role="alert">{escape(now.problem)}</div>')
    parts += _doubts(now.answer)
    if footnotes := " · ".join(_footnotes(exchange, now, check(exchange, draft))):
        parts.append(f'<p class="footnotes">{footnotes[:1].upper() + footnotes[1:]}</p>')
    if now.answer and now.answer.related:
        questions = "".join(
            f'<li><button type="button" data-ask="{escape(question)}">{escape(question)}</button>'
            for question in now.answer.related
        )
        parts.append(
            f'<nav aria-label="Related questions"><h4>Related</h4><ul>{questions}</ul></nav>'
        )
    return "".join(parts)


def _footnotes(exchange: Exchange, draft: Draft, checked: Checked) -> Iterator[str]:
    answer = draft.answer
    if draft.stopped:
        yield "Stopped"
    if answer and answer.mode == "model":
        yield "" if is_hidden(exchange) else f"Written by {escape(answer.model or 'a model')}"
    elif answer and not answer.abstained:
        yield "Quoted from the code"
    if exchange.words_only:
        yield "found by words alone, as meaning is still being indexed"
    if answer and not answer.abstained and not checked.citations:
        yield "cites nothing: check it before you rely on it"
    if dropped := len(checked.dropped):
        were = "was" if dropped == 1 else "were"
        yield f"{count_of(dropped, 'citation')} {were} not in the evidence and {were} removed"
    if answer and answer.usage and answer.usage.calls and not is_hidden(exchange):
        yield f"{answer.usage.total_s:.1f} s"


def _names_in_doubt(answer: Answer | None) -> dict[Citation, list[str]]:
    doubted: dict[Citation, list[str]] = {}
    for doubt in answer.doubts if answer else ():
        names = doubted.setdefault(doubt.citation, [])
        names += [name for name in doubt.names if name not in names]
    return doubted


def _doubts(answer: Answer | None) -> Iterator[str]:
    for citation, names in _names_in_doubt(answer).items():
        quoted = ", ".join(f"<code>{escape(name)}</code>" for name in names)
        yield (
            f'<p class="doubt" role="note"><strong>In doubt:</strong> the lines cited as '
            f"<b>{citation.passage}</b> {name_html(citation.label)} do not hold {quoted}</p>"
        )


def _verdict_html(exchange: Exchange) -> str:
    if exchange.running:
        return ""
    unsaved = f'<p class="doubt" role="note">{escape(exchange.unsaved or "")}</p>'
    return (
        f'{unsaved if exchange.unsaved else ""}<div class="verdict">{_judge_html(exchange)}</div>'
    )


def _judge_html(exchange: Exchange) -> str:
    broken = any(draft.problem or draft.stopped for draft in exchange.drafts)
    retry = '<button type="button" data-do="retry">Try again</button>' if broken else ""
    if len(exchange.drafts) > 1:
        return f"{_votes_html(exchange)}{retry}"
    return f"{_thumbs_html(exchange) if exchange.drafts[0].answer else ''}{retry}"


def _votes_html(exchange: Exchange) -> str:
    if not all(draft.answer for draft in exchange.drafts):
        return ""
    buttons = "".join(
        f'<button type="button" data-do="vote" data-winner="{winner}" '
        f'aria-pressed="{str(exchange.vote == winner).lower()}">{text}</button>'
        for winner, text in VERDICTS.items()
    )
    ask = "Which answer is better?"
    if exchange.blind:
        ask += " The models are named after your vote." if exchange.vote is None else ""
    return f'<div class="votes" role="group" aria-label="Vote"><p>{ask}</p>{buttons}</div>'


def _thumbs_html(exchange: Exchange) -> str:
    thumbs = "".join(
        f'<button type="button" class="thumb" data-do="rate" data-thumb="{thumb}" '
        f'aria-pressed="{str(exchange.thumb == thumb).lower()}" aria-label="{text}" '
        f'title="{text}">{icon(thumb)}</button>'
        for thumb, text in (("up", "A good answer"), ("down", "A bad answer"))
    )
    if not exchange.thumb:
        return thumbs
    what = "good" if exchange.thumb == "up" else "bad"
    return (
        f'{thumbs}<form class="reason" data-thumb="{exchange.thumb}"><label class="hidden" '
        f'for="r{escape(exchange.id)}">Why it is {what}</label>'
        f'<input id="r{escape(exchange.id)}" name="reason" maxlength="2000" autocomplete="off" '
        f'placeholder="What is {what} about it? (if you like)" value="{escape(exchange.reason)}">'
        f'<button type="submit">Keep</button></form>'
    )


def _button(action: str, label: str, html: str) -> str:
    return (
        f'<button type="button" class="quiet" data-do="{action}" aria-label="{escape(label)}" '
        f'title="{escape(label)}">{html}</button>'
    )


def _part(parts: Mapping[str, str], name: str) -> str:
    return f'<div data-part="{name}">{parts[name]}</div>'
