"""An answer's text as it streams, with every citation checked before it is sent.

A client of the API cannot take back what it was sent. So a citation is held until it is whole,
and goes out only if it points into the evidence: put together, the pieces are the text of the
finished answer.
"""

import re
from collections.abc import Mapping, Sequence

from data_tools.chunk import Chunk
from retrieval.citations import check_citations

# White space at the end is held: it goes with a citation that is left out. What follows a bracket
# is waited for, because `[1](…` is the text of a link and no citation.
_UNDECIDED = re.compile(r"(?<!\s)\s*(?:\[[^\]\n]{0,40}(?:\]\s*)?)?\Z")
_BRACKET = re.compile(r"(?<![ \t])(?P<space>[ \t]*)(?P<citation>\[\d[^\]\n]{0,40}\])")
# So is the end of code in a line, in which nothing is a citation.
_OPEN_CODE = re.compile(r"(?:`[^`\n]*`|[^`\n])*+(?P<code>`[^`\n]*)\Z")
_CLOSES = re.compile(r"[.,;:!?\n]|\Z")  # no space stands before these


class CheckedText:
    """Takes a text piece by piece, and gives back what may be shown of it.

    :ivar sent: all that it gave back so far.
    """

    def __init__(self) -> None:
        self.sent = ""
        self._text = ""  # as it was written
        self._held = ""  # the end of it, which is not decided yet
        self._evidence: Sequence[Chunk] = ()
        self._web_urls: Mapping[str, str | None] = {}

    def cite_from(self, evidence: Sequence[Chunk], web_urls: Mapping[str, str | None]) -> None:
        """Say what may be cited from now on; before that, nothing may."""
        self._evidence, self._web_urls = evidence, web_urls

    def add(self, piece: str) -> str:
        """Take the next piece; return what is decided by it, which may be nothing."""
        self._held += piece
        end = self._decided_end()
        decided, self._held = self._held[:end], self._held[end:]
        return self._send(decided)

    def finish(self, text: str) -> str:
        """Take the whole answer as it was checked at its end; return what is missing of it."""
        if not text.startswith(self.sent):  # it was changed in what is sent already
            return self._send(self._held).rstrip()
        missing = text[len(self.sent) :]
        self.sent = text
        return missing

    def _decided_end(self) -> int:
        undecided = _UNDECIDED.search(self._held)
        assert undecided  # it matches the empty end
        if "`" not in self._held:
            return undecided.start()
        line = self._text[self._text.rfind("\n") + 1 :] + self._held
        last = line[line.rfind("\n") + 1 :]
        code = _OPEN_CODE.match(last)
        if code is None:
            return undecided.start()
        return min(undecided.start(), len(self._held) - len(code["code"]))

    def _send(self, decided: str) -> str:
        checked = _BRACKET.sub(self._check, decided) if "[" in decided else decided
        self._text += decided
        if not self.sent:
            checked = checked.lstrip()
        self.sent += checked
        return checked

    def _check(self, match: re.Match[str]) -> str:
        """Return what stands for something like a citation."""
        before = self._text + match.string[: match.start("citation")]
        after = match.string[match.end() :] + self._held
        if _count_citations(before + match["citation"] + after) == _count_citations(before + after):
            return match[0]  # in code, an index, or the text of a link
        checked = check_citations(match["citation"], self._evidence, self._web_urls)
        if checked.citations:
            return match["space"] + checked.text
        return "" if _CLOSES.match(after) else match["space"]


def _count_citations(text: str) -> int:
    return len(check_citations(text, (), {}).dropped)
