"""Text that streams with its citations checked: the pieces are the finished text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.checked_text import CheckedText
from data_tools.chunk import Chunk
from retrieval.citations import check_citations

EVIDENCE = [Chunk("limits", "c" * 40, "a.py", 1, 10, "python", "", "x\n" * 10)]
TEXTS = (
    "It waits [1:L1-L2]. And [9:L1-L2] more.",
    "  `x[1]`, y[0] [1] and [1](http://a) [2].\n\n```\n[1:L3-L4] [9]\n```\nend [1:L2]",
    "[1]",
    "No passage [9]",
    "half of one [1:L3",
    "no [5].\n",
    "x [1][9][1:L1-L1] y [ 1 ]",
    "[9] stands first",
    "code that is `open [1] and closed`, and `open [1] and not [9]",
    "a | table [1] | [2] |\n|---|---|\n",
)


def stream(text: str, sizes: list[int]) -> tuple[list[str], str]:
    """The pieces that are sent, and the text as it is checked in the end."""
    checked = CheckedText()
    checked.cite_from(EVIDENCE, {})
    whole = check_citations(text, EVIDENCE, {}).text
    pieces: list[str] = []
    position = 0
    while position < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(checked.add(text[position : position + size]))
        position += size
    return [*pieces, checked.finish(whole)], whole


@pytest.mark.parametrize("text", TEXTS)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_the_pieces_are_the_finished_text_however_it_is_cut(text: str, sizes: list[int]) -> None:
    pieces, whole = stream(text, sizes)
    assert "".join(pieces) == whole


def test_a_citation_is_held_until_it_is_known_to_be_good() -> None:
    pieces, _ = stream("It waits [1:L1-L2] and [9] so on", [9, 4, 3, 2, 6, 3])
    assert pieces[0] == "It waits"
    assert all("[9" not in piece for piece in pieces)
    assert any("[1:L1-L2]" in piece for piece in pieces)


def test_plain_words_are_sent_as_they_come() -> None:
    checked = CheckedText()
    assert [checked.add(piece) for piece in ("It", " waits", " for", "\n")] == [
        *("It", " waits", " for"),
        "",
    ]


def test_nothing_may_be_cited_before_there_is_evidence() -> None:
    checked = CheckedText()
    assert checked.add("It waits [1:L1-L2]. ") == "It waits."


def test_what_was_added_at_the_end_is_sent_too() -> None:
    checked = CheckedText()
    checked.add("It waits ")
    assert checked.finish("It waits\n\n(The answer was cut.)") == "\n\n(The answer was cut.)"


def test_an_answer_that_was_changed_keeps_what_was_sent() -> None:
    checked = CheckedText()
    checked.add("It waits [1")
    assert checked.finish("Something else.") == " [1"
