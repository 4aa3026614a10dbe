"""An answer as HTML while it is being written: what is whole is rendered once.

A text of ten thousand tokens that was rendered anew for every piece would keep the server busy
with nothing else. Blocks before the last one no longer change, so only the last one is read again.
"""

from collections.abc import Callable, Sequence

from app.markdown import block_starts, cut_half_citation, render_blocks
from data_tools.chunk import Chunk
from retrieval.citations import Citation, check_citations

Link = Callable[[Citation], str]


class GrowingAnswer:
    """Renders a text of which more comes; each call may only add to the text of the last one.

    :ivar citations: the good ones so far, in the order of their first use.
    """

    def __init__(self, evidence: Sequence[Chunk], link: Link) -> None:
        """Begin with no text.

        :param link: makes the HTML of a citation.
        """
        self.citations: dict[Citation, None] = {}
        self._evidence = evidence
        self._link = link
        self._whole: list[str] = []
        self._offset = 0  # of the first block that may still change, in characters

    def render(self, text: str) -> list[str]:
        """Render all of `text`; each block is one HTML element."""
        tail = text[self._offset :]
        if starts := block_starts(tail)[1:]:
            self._whole += self._render(tail[: starts[-1]])
            self._offset += starts[-1]
            tail = tail[starts[-1] :]
        return [*self._whole, *self._render(cut_half_citation(tail))]

    def _render(self, text: str) -> list[str]:
        checked = check_citations(text, self._evidence, {})
        self.citations |= dict.fromkeys(checked.citations)
        return render_blocks(checked.text, link_citations(checked.citations, self._link))


def link_citations(citations: Sequence[Citation], link: Link) -> dict[tuple[int, int, int], str]:
    """Map (passage, first line, last line) to the HTML that stands for a citation."""
    return {(c.passage, c.start_line, c.end_line): link(c) for c in citations}
