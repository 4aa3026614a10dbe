"""An answer that grows is rendered as it would be whole."""

import pytest

from app.growing_answer import GrowingAnswer, link_citations
from app.markdown import render_blocks
from retrieval.citations import Citation, check_citations
from tests.fakes import MakeChunk

TEXT = """\
It refills [1:L1-L2] as time goes by [7:L1-L2].

1. First, `_refill` is called
2. then the tokens are taken [1].

```python
def take(self):

    return [1]
```

| a | b |
|---|---|
| 1 | 2 |

> quoted
> twice

# And an end
with a tail [1:L2-L2]
"""


def link(citation: Citation) -> str:
    return f"<a>{citation.start_line}-{citation.end_line}</a>"


@pytest.mark.parametrize("step", [1, 7, 50, 10_000])
def test_piece_by_piece_it_becomes_what_it_is_whole(make_chunk: MakeChunk, step: int) -> None:
    evidence = [make_chunk()]
    growing = GrowingAnswer(evidence, link)
    blocks: list[str] = []
    for end in [*range(step, len(TEXT), step), len(TEXT)]:
        blocks = growing.render(TEXT[:end])
    checked = check_citations(TEXT, evidence, {})
    assert blocks == render_blocks(checked.text, link_citations(checked.citations, link))
    assert tuple(growing.citations) == checked.citations


def test_what_is_whole_is_not_read_again(make_chunk: MakeChunk) -> None:
    growing = GrowingAnswer([make_chunk()], link)
    first = growing.render("One.\n\nTwo.\n\nThr")
    again = growing.render("One.\n\nTwo.\n\nThree.")
    assert again[0] is first[0]
    assert again[1] is first[1]
    assert again[2] == "<p>Three.</p>"


def test_a_citation_that_is_half_there_does_not_flash_up(make_chunk: MakeChunk) -> None:
    growing = GrowingAnswer([make_chunk()], link)
    assert growing.render("It refills [1:L") == ["<p>It refills</p>"]


def test_line_ends_of_any_kind_part_blocks(make_chunk: MakeChunk) -> None:
    growing = GrowingAnswer([make_chunk()], link)
    assert growing.render("One.\r\n\r\nTwo.\r\rThree.") == [
        "<p>One.</p>",
        "<p>Two.</p>",
        "<p>Three.</p>",
    ]
