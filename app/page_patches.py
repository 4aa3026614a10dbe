"""What has changed in a conversation since a browser last heard of it.

A page that is sent whole for every piece of an answer costs more than the answer. So of finished
exchanges nothing is sent again, of a running one its new blocks, and the evidence when it is found
and when the answer is done. No state but what the browser shows.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from app.conversation import Conversation, Exchange, check
from app.growing_answer import GrowingAnswer
from app.render_exchange import (
    blocks_of,
    citation_link,
    exchange_html,
    frame_blocks,
    parts_of,
    say_progress,
)

Patch = dict[str, Any]
EvidenceOf = Callable[[Conversation], str]

REDRAW_S = 0.05  # a faster stream is shown in steps of this
SLOWEST_S = 1.0  # however busy the server is
SENDING_S = 0.0005  # processor time of sending a patch, whatever it holds
OWN_SHARE = 0.1  # of a processor, for redrawing one conversation
ALL_SHARE = 0.15  # … and for all of them


class Patches:
    """What one browser shows of one conversation."""

    def __init__(self, evidence_of: EvidenceOf, shown: str | None = None) -> None:
        """Begin.

        :param evidence_of: renders the evidence of a conversation.
        :param shown: id of the last exchange that the browser shows, finished as all before it.
        """
        self._evidence_of = evidence_of
        self._shown = shown
        self._exchanges: Conversation = ()
        self._parts: dict[str, str] = {}
        self._blocks: dict[int, list[str]] = {}
        self._growing: dict[int, GrowingAnswer] = {}
        self._evidence: object = None
        self._said = ""
        self._begun = False
        self.cost_s = 0.0  # processor time of the last patch
        self.only_text = False  # whether the last patch held no more than text

    def make(self, exchanges: Conversation) -> Patch:
        """Return what is new; empty if nothing is.

        `keep`: how many exchanges stay, the others being replaced by `exchanges` (HTML);
        `last`: changes of the last one: `parts` (HTML by name), `texts` (by draft: from which
        block on, and the blocks from there), `cited` (passage, first line, last line);
        `evidence`: HTML; `running`: ids; `say`: what a screen reader is told.
        """
        began_s = time.thread_time()
        patch = self._change_list(exchanges)
        if exchanges and "exchanges" not in patch:
            last = self._change_last(exchanges[-1], len(exchanges))
            patch |= {"last": last} if last else {}
        patch |= self._change_evidence(exchanges)
        if "exchanges" in patch or self._say(exchanges) != self._said:
            patch["running"] = [exchange.id for exchange in exchanges if exchange.running]
            patch["say"] = self._said = self._say(exchanges)
        self._exchanges, self._begun = exchanges, True
        self.only_text = patch.keys() <= {"last"}
        self.cost_s = time.thread_time() - began_s
        return patch

    async def make_soon(self, exchanges: Conversation) -> Patch:
        """Do as `make` does, in a thread where that takes long."""
        if self.is_quick(exchanges):
            return self.make(exchanges)
        return await asyncio.to_thread(self.make, exchanges)

    def is_quick(self, exchanges: Conversation) -> bool:
        """Tell whether nothing but text can be new, which takes less time than changing threads."""
        if not self._exchanges or len(exchanges) != len(self._exchanges):
            return False
        before, now = self._exchanges[-1], exchanges[-1]
        return (
            before.evidence is not None
            and before.evidence is now.evidence
            and all(draft.running for draft in now.drafts)
        )

    def _change_list(self, exchanges: Conversation) -> Patch:
        ids = [exchange.id for exchange in exchanges]
        if not self._begun:
            keep = ids.index(self._shown) + 1 if self._shown in ids else 0
        else:
            before = [exchange.id for exchange in self._exchanges]
            if ids == before and self._same_but_last(exchanges):
                return {}
            keep = _count_same(exchanges, self._exchanges)
        html = [
            exchange_html(exchange, number)
            for number, exchange in enumerate(exchanges[keep:], start=keep + 1)
        ]
        self._remember(exchanges)
        return {"keep": keep, "exchanges": html}

    def _same_but_last(self, exchanges: Conversation) -> bool:
        return _count_same(exchanges, self._exchanges) >= len(exchanges) - 1

    def _remember(self, exchanges: Conversation) -> None:
        """Note what the last exchange looks like now."""
        self._parts, self._blocks, self._growing = {}, {}, {}
        if exchanges:
            last, number = exchanges[-1], len(exchanges)
            self._parts = parts_of(last, number)
            drafts = range(len(last.drafts))
            self._blocks = {draft: blocks_of(last, number, draft) for draft in drafts}

    def _change_last(self, exchange: Exchange, number: int) -> Patch:
        if exchange == self._exchanges[-1]:
            return {}
        now = parts_of(exchange, number)
        parts = {name: html for name, html in now.items() if html != self._parts.get(name)}
        self._parts = now
        texts = {}
        cited: list[tuple[int, int, int]] = []
        for draft in range(len(exchange.drafts)):
            blocks = self._render(exchange, number, draft)
            before = self._blocks.get(draft, [])
            if blocks != before:
                same = _count_same(blocks, before)
                texts[str(draft)] = [same, blocks[same:]]
                self._blocks[draft] = blocks
            if exchange.running and draft in self._growing:
                citations = self._growing[draft].citations
                cited += [(c.passage, c.start_line, c.end_line) for c in citations]
        change: Patch = {"parts": parts, "texts": texts, "cited": cited}
        return {name: value for name, value in change.items() if value}

    def _render(self, exchange: Exchange, number: int, draft: int) -> list[str]:
        now = exchange.drafts[draft]
        if not now.running:
            self._growing.pop(draft, None)
            return blocks_of(exchange, number, draft)
        if not now.text:
            return frame_blocks(exchange, draft, [])
        if draft not in self._growing:
            passages = [hit.chunk for hit in exchange.evidence or ()]
            link = citation_link(exchange, number, draft)
            self._growing[draft] = GrowingAnswer(passages, link)
        return frame_blocks(exchange, draft, self._growing[draft].render(now.text))

    def _change_evidence(self, exchanges: Conversation) -> Patch:
        """Render the evidence when it was found, and again when a draft or all of them is done."""
        last = exchanges[-1] if exchanges else Exchange("")
        done = tuple(
            None if draft.running else check(last, number).citations
            for number, draft in enumerate(last.drafts)
        )
        key = (len(exchanges), last.id, last.evidence, done if any(done) else None, last.running)
        if self._begun and key == self._evidence:
            return {}
        self._evidence = key
        return {"evidence": self._evidence_of(exchanges)}

    def _say(self, exchanges: Conversation) -> str:
        if not exchanges:
            return ""
        last = exchanges[-1]
        if not last.running:
            problems = [draft.problem for draft in last.drafts if draft.problem]
            return f"No answer: {problems[0]}" if problems else "The answer is complete."
        if any(draft.text for draft in last.drafts):
            return "The answer is being written."
        return say_progress(last)


class Pace:
    """How long to wait between redraws, so that redrawing leaves the server time to answer."""

    def __init__(self) -> None:
        self.followers = 0

    def pause_s(self, cost_s: float) -> float:
        """Return how long to wait after a redraw, in seconds.

        :param cost_s: its processor time, without that of sending it.
        """
        cost_s += SENDING_S
        longest_s = max(cost_s / OWN_SHARE, cost_s * self.followers / ALL_SHARE)
        return min(max(REDRAW_S, longest_s), SLOWEST_S)


def _count_same(one: Any, other: Any) -> int:  # noqa: ANN401
    """Count how many items two sequences begin with alike."""
    same = 0
    for a, b in zip(one, other, strict=False):
        if a is not b and a != b:
            break
        same += 1
    return same
