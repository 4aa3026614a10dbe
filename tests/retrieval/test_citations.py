"""Citations are checked against the evidence; the bad ones are dropped and reported."""

import pytest

from data_tools.chunk import Chunk
from retrieval.citations import (
    Citation,
    check_citations,
    renumber_citations,
    without_citations,
)

WEB = {"limits": "https://github.com/acme/limits"}


def passage(start: int = 10, end: int = 20, repo: str = "limits") -> Chunk:
    return Chunk(repo, "c" * 40, "src/bucket.py", start, end, "python", "Bucket", "x\n")


def test_a_good_citation_keeps_its_place_and_links_to_the_commit() -> None:
    checked = check_citations("It refills [1:L12-L14].", [passage()], WEB)
    assert checked.text == "It refills [1:L12-L14]."
    assert checked.dropped == ()
    assert checked.citations == (
        Citation(
            1,
            "limits",
            "src/bucket.py",
            12,
            14,
            f"https://github.com/acme/limits/blob/{'c' * 40}/src/bucket.py#L12-L14",
        ),
    )


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("[1:L12]", (12, 12)),
        ("[1:12-14]", (12, 14)),
        ("[1:L12–L14]", (12, 14)),
        ("[1: L12 - L14]", (12, 14)),
        ("[1]", (10, 20)),
    ],
)
def test_looser_forms_are_understood(written: str, lines: tuple[int, int]) -> None:
    checked = check_citations(f"So it is {written}.", [passage()], {})
    assert [(c.start_line, c.end_line) for c in checked.citations] == [lines]
    assert checked.text == f"So it is [1:L{lines[0]}-L{lines[1]}]."


@pytest.mark.parametrize(
    "written",
    ["[2:L12-L14]", "[0:L12-L14]", "[1:L9-L12]", "[1:L12-L21]", "[1:L14-L12]", "[7]", "[999]"],
)
def test_a_citation_outside_the_evidence_is_dropped_and_reported(written: str) -> None:
    checked = check_citations(f"A claim {written}, and more.", [passage()], WEB)
    assert checked.text == "A claim, and more."
    assert checked.citations == ()
    assert checked.dropped == (written,)


@pytest.mark.parametrize(
    "text",
    [
        "`items[7]` grows",
        "```\nrow[9:L1-L2]\n```",
        "see [7](https://example.org)",
        "items[7] grows",
    ],
)
def test_what_looks_like_a_citation_in_code_or_a_link_is_left_alone(text: str) -> None:
    checked = check_citations(text, [passage()], WEB)
    assert (checked.text, checked.dropped) == (text, ())


def test_a_citation_used_twice_is_listed_once_in_the_order_of_first_use() -> None:
    text = "b [2:L1-L2] a [1:L10-L11] b again [2:L1-L2]"
    checked = check_citations(text, [passage(), passage(1, 5)], {})
    assert [(c.passage, c.start_line) for c in checked.citations] == [(2, 1), (1, 10)]


def test_one_line_is_labelled_without_a_range() -> None:
    citation = Citation(1, "limits", "a.py", 3, 3, None)
    assert citation.label == "a.py#L3"


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


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("[1:L12-L14, L16]", [(12, 14), (16, 16)]),
        ("[1:L12; 2:L13-L15]", [(12, 12), (13, 15)]),
        ("[1:L12–L14,L18]", [(12, 14), (18, 18)]),
        ("【1:L12-L14】", [(12, 14)]),
    ],
)
def test_several_citations_in_one_pair_of_brackets_are_told_apart(
    written: str, lines: list[tuple[int, int]]
) -> None:
    checked = check_citations(f"So it is {written}.", [passage(), passage()], {})
    assert [(c.start_line, c.end_line) for c in checked.citations] == lines
    assert checked.dropped == ()


def test_of_several_citations_the_bad_ones_are_dropped() -> None:
    checked = check_citations("It refills [1:L12, L99].", [passage()], {})
    assert (checked.text, checked.dropped) == ("It refills [1:L12-L12].", ("[1:L99]",))


@pytest.mark.parametrize(
    "written", ["[1:L5-]", "[1:]", "[1:-L12]", "[L12-L14]", "[L12]", "[src/bucket.py:L12-L14]"]
)
def test_a_malformed_citation_is_dropped_and_the_text_kept(written: str) -> None:
    checked = check_citations(f"It refills {written}. Then it waits [1:L12].", [passage()], {})
    assert checked.text == "It refills. Then it waits [1:L12-L12]."
    assert checked.dropped == (written,)


@pytest.mark.parametrize(
    "text",
    [
        "a range [0, 1] of [numbers]",
        "see [L4](https://example.com)",
        "[TODO: ask]",
        "at [noon: 12]",
    ],
)
def test_brackets_that_are_no_citation_are_left(text: str) -> None:
    assert check_citations(text, [passage()], {}).text == text


def test_citations_get_the_numbers_of_another_list_of_passages() -> None:
    text = "One [1:L2-L3], two [2:L4-L4] and `x[1]`."
    assert renumber_citations(text, {1: 7}) == "One [7:L2-L3], two  and `x[1]`."
