"""Citations in an answer: find them, and check them against the evidence they were made from.

Pure functions on text: the chat shows only what passes here, and the evaluation of tuned models
counts it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from data_tools.chunk import Chunk
from data_tools.permalink import line_link

_LINES = r"L?(?P<start>\d{1,7})(?:\s*[-–]\s*L?(?P<end>\d{1,7}))?"  # noqa: RUF001
_CITATION = re.compile(
    rf"\[(?P<passage>\d{{1,3}})(?::\s*{_LINES}"
    r"|(?<!\w\[\d)(?<!\w\[\d\d))\]"  # `x[0]` is none
    r"(?!\()"  # nor is a Markdown link's text
    # What was meant for one: `[1:L5-]`, `[L5-L9]`, `[bucket.py:L5-L9]`.
    r"|\[(?:\d{1,3}\s*:[\s\dL,;.–-]*|(?:[^\s\[\]]{1,200}[:#])?L\d{1,7}(?:\s*[-–]\s*L?\d{1,7})?)\]"  # noqa: RUF001
    r"(?!\()"
)
# Several in one pair of brackets: `[1:L5-L9, L12; 2:L3]`; and brackets that are none of ours.
_SEVERAL = re.compile(r"\[(\d{1,3}:\s*L?\d[\d\s:L–-]*(?:[,;][\d\s:L–-]+)+)\](?!\()")  # noqa: RUF001
_FULL_WIDTH = re.compile(r"【(\d{1,3}(?::[\d\s:L,;–-]+)?)】")  # noqa: RUF001
_SPACE_BEFORE = re.compile(r"(?<![ \t])[ \t]+([.,;:!?]|$)", re.MULTILINE)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


@dataclass(frozen=True)
class Citation:
    """Lines of the evidence that an answer points to.

    :param passage: 1-based number of the evidence.
    :param url: link to the lines at the indexed commit, where there is one.
    """

    passage: int
    repo: str
    path: str
    start_line: int
    end_line: int
    url: str | None

    @property
    def label(self) -> str:
        """How it is shown: `path#Lx-Ly`."""
        if self.start_line == self.end_line:
            return f"{self.path}#L{self.start_line}"
        return f"{self.path}#L{self.start_line}-L{self.end_line}"


@dataclass(frozen=True)
class Checked:
    """An answer whose citations were checked.

    :param text: the answer without the citations that are not in the evidence.
    :param citations: the distinct good ones, in the order of their first use.
    :param dropped: the bad ones as they were written, in order.
    """

    text: str
    citations: tuple[Citation, ...]
    dropped: tuple[str, ...]


def format_citation(passage: int, start_line: int, end_line: int) -> str:
    """Write a citation as the model is asked to."""
    return f"[{passage}:L{start_line}-L{end_line}]"


def check_citations(
    text: str, evidence: Sequence[Chunk], web_urls: Mapping[str, str | None]
) -> Checked:
    """Check every citation in `text` against the evidence.

    A citation is good if its passage exists and its lines lie within it; `[n]` alone means the
    whole passage, and one pair of brackets may hold several. What looks like one inside code is
    left alone: `items[0]` is no citation.

    :param web_urls: repository name → its page, for links.
    """
    good: dict[Citation, None] = {}
    dropped: list[str] = []

    def judge(match: re.Match[str]) -> str:
        citation = _resolve(match, evidence, web_urls)
        if citation is None:
            dropped.append(match[0])
            return ""
        good[citation] = None
        return format_citation(citation.passage, citation.start_line, citation.end_line)

    checked = _replace_outside_code(text, judge)
    if dropped:
        checked = _SPACE_BEFORE.sub(r"\1", checked)
    return Checked(checked.strip(), tuple(good), tuple(dropped))


def without_citations(text: str) -> str:
    """Leave out every citation, good or bad, with the spaces before it."""
    bare = _replace_outside_code(text, lambda match: "")
    return _SPACE_BEFORE.sub(r"\1", bare).strip()


def renumber_citations(text: str, numbers: Mapping[int, int]) -> str:
    """Give the passages that a text cites other numbers; citations of none of them are left out.

    :param text: its citations checked, so that all are `[n:Lx-Ly]`.
    :param numbers: of each passage, before and after.
    """

    def renumber(match: re.Match[str]) -> str:
        passage, lines = match[0].strip("[]").split(":")
        number = numbers.get(int(passage))
        return "" if number is None else f"[{number}:{lines}]"

    return _replace_outside_code(text, renumber)


def _resolve(
    match: re.Match[str], evidence: Sequence[Chunk], web_urls: Mapping[str, str | None]
) -> Citation | None:
    passage = int(match["passage"] or 0)
    if not 1 <= passage <= len(evidence):
        return None
    chunk = evidence[passage - 1]
    start = int(match["start"] or chunk.start_line)
    end = int(match["end"] or (start if match["start"] else chunk.end_line))
    if not chunk.start_line <= start <= end <= chunk.end_line:
        return None
    web_url = web_urls.get(chunk.repo)
    url = line_link(web_url, chunk.commit, chunk.path, start, end) if web_url else None
    return Citation(passage, chunk.repo, chunk.path, start, end, url)


def _replace_outside_code(text: str, replace: Callable[[re.Match[str]], str]) -> str:
    return "".join(
        part if is_code else _CITATION.sub(replace, _one_by_one(part))
        for part, is_code in _split_code(text)
    )


def _one_by_one(text: str) -> str:
    """Give each of several citations in one pair of brackets its own."""

    def separate(several: re.Match[str]) -> str:
        passage, found = "", []
        for each in re.split(r"[,;]", several[1]):
            named, colon, lines = each.strip().rpartition(":")
            passage = named if colon else passage
            found.append(f"[{passage}:{lines.strip()}]")
        return " ".join(found)

    return _SEVERAL.sub(separate, _FULL_WIDTH.sub(r"[\1]", text))


def _split_code(text: str) -> Iterator[tuple[str, bool]]:
    position = 0
    for match in _CODE.finditer(text):
        yield text[position : match.start()], False
        yield match[0], True
        position = match.end()
    yield text[position:], False
