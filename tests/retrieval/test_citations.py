"""Citations can be taken out of an answer; how they are checked is in tests/app/test_citations.py."""

import pytest

from retrieval.citations import without_citations


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("It refills [1:L12-L14].", "It refills."),
        ("It refills [9:L1-L2], and waits [2].", "It refills, and waits."),
        ("`items[7]` grows", "`items[7]` grows"),
        ("[1:L3]", ""),
    ],
)
def test_citations_are_left_out_with_the_space_before_them(text: str, bare: str) -> None:
    assert without_citations(text) == bare
