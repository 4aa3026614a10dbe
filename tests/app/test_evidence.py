"""The evidence panel: numbered lines, the cited ones marked, links that are never dead."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape

from app.answer import Answer, Doubt
from app.conversation import Draft, Exchange
from app.evidence import anchor, evidence_html
from data_tools.chunk import Chunk
from data_tools.text import split_lines
from retrieval.citations import Citation
from retrieval.search import Hit
from tests.fakes import MakeChunk

COMMIT = "0123456789abcdef0123456789abcdef01234567"
URL = f"https://github.com/ada/limits/blob/{COMMIT}/src/bucket.py"


def highlight(chunk: Chunk) -> list[str]:
    return [escape(line.rstrip("\n")) for line in split_lines(chunk.text)]


def show(*exchanges: Exchange, name_repository: bool = False) -> str:
    return evidence_html(exchanges, highlight, name_repository=name_repository)


def cited(hits: Sequence[Hit], *places: tuple[int, int, int], url: str | None = None) -> Exchange:
    citations = tuple(
        Citation(passage, "limits", "src/bucket.py", start, end, url)
        for passage, start, end in places
    )
    text = "".join(f" [{p}:L{start}-L{end}]" for p, start, end in places)
    answer = Answer("?", text, citations, (), tuple(hits), "model", "stub", False, False)
    return Exchange("How?", evidence=tuple(hits), drafts=(Draft(text=text, answer=answer),))


def test_before_the_first_question_it_says_what_will_be_here() -> None:
    assert "appear here" in show()


def test_lines_are_numbered_and_the_cited_ones_marked(make_chunk: MakeChunk) -> None:
    hit = Hit(1.0, make_chunk("one\ntwo\nthree\nfour\n", start_line=7, symbol="Bucket.take"), None)
    html = show(cited([hit], (1, 8, 9)))
    assert re.findall(r'<span class="(line[^"]*)" id="([^"]*)" data-line="(\d+)">(\w+)', html) == [
        ("line", "a1p1L7", "7", "one"),
        ("line cited", "a1p1L8", "8", "two"),
        ("line cited", "a1p1L9", "9", "three"),
        ("line", "a1p1L10", "10", "four"),
    ]
    assert "L7–L10" in html
    assert "Bucket.take" in html
    assert "1 passage, 1 cited" in html
    assert f'id="{anchor(1, 1)}" open' in html


def test_passages_that_are_not_cited_are_folded(make_chunk: MakeChunk) -> None:
    hits = [Hit(1.0, make_chunk(path=f"{name}.py"), None) for name in "abc"]
    html = show(cited(hits, (2, 1, 2)))
    assert re.findall(r'<details class="passage( cited)?"[^>]* id="a1p(\d)"( open)?>', html) == [
        ("", "1", ""),
        (" cited", "2", " open"),
        ("", "3", ""),
    ]


def test_a_passage_cited_whole_gives_way_to_cited_lines(make_chunk: MakeChunk) -> None:
    hits = [Hit(1.0, make_chunk("one\ntwo\n"), None) for _ in range(2)]
    html = show(cited(hits, (1, 1, 2), (2, 1, 1)))
    assert re.findall(r'id="a1p\d"( open)?>', html) == ["", " open"]
    assert re.findall(r'<pre class="source ([^"]*)">', html) == ["code whole", "code"]
    assert 'id="a1p1" open' in show(cited(hits, (1, 1, 2)))


def test_the_best_passages_are_open_until_it_is_known_what_is_cited(make_chunk: MakeChunk) -> None:
    hits = tuple(Hit(1.0, make_chunk(), None) for _ in range(3))
    html = show(Exchange("How?", evidence=hits))
    assert re.findall(r'id="a1p\d"( open)?>', html) == [" open", " open", ""]


def test_a_passage_links_to_its_lines_at_the_commit(make_chunk: MakeChunk) -> None:
    hit = Hit(1.0, make_chunk(commit=COMMIT), f"{URL}#L1-L2")
    html = show(cited([hit], (1, 1, 2), url=f"{URL}#L1-L2"))
    assert f'<a href="{URL}#L1-L2" target="_blank" rel="noopener noreferrer">' in html
    assert "open at commit 0123456 on GitHub</a>" in html
    assert "cited L1–L2</a>" in html


def test_without_a_page_on_a_git_host_there_is_no_link(make_chunk: MakeChunk) -> None:
    html = show(cited([Hit(1.0, make_chunk(), None)], (1, 1, 2)))
    assert 'target="_blank"' not in html


def test_only_web_addresses_become_links(make_chunk: MakeChunk) -> None:
    html = show(cited([Hit(1.0, make_chunk(), "javascript:alert(1)")], (1, 1, 2)))
    assert "javascript" not in html


def test_nothing_of_a_repository_is_taken_for_html(make_chunk: MakeChunk) -> None:
    evil = '"><img src=x onerror=alert(1)>'
    chunk = make_chunk(evil, path=f"{evil}/{evil}.py", symbol=evil, repo=evil, commit=evil)
    html = show(
        Exchange(
            evil,
            evidence=(Hit(1.0, chunk, f'https://github.com/"{evil}'),),
            drafts=(Draft(text="[1]"),),
        ),
        Exchange(evil),
        name_repository=True,
    )
    assert "<img" not in html
    assert "onerror=alert(1)&gt;" in html
    assert not re.search(r'="[^"]*"[^ >/]', html)  # no attribute was left by a quotation mark


def test_with_several_repositories_each_passage_names_its_own(make_chunk: MakeChunk) -> None:
    exchange = Exchange("How?", evidence=(Hit(1.0, make_chunk(symbol="take"), None),))
    assert "limits › take" in show(exchange, name_repository=True)
    assert "limits › take" not in show(exchange)


def test_earlier_answers_keep_what_they_cite(make_chunk: MakeChunk) -> None:
    hits = [Hit(1.0, make_chunk(path=f"{name}.py"), None) for name in "ab"]
    html = show(cited(hits, (2, 1, 1)), Exchange("And then?"))
    assert "Searching" in html
    assert 'id="a1p2L1"' in html  # its citation still leads somewhere
    assert 'id="a1p1"' not in html
    assert "Cited for “How?”" in html


def test_no_passages_at_all_points_to_the_filters() -> None:
    assert "filters" in show(Exchange("How?", evidence=()))


def test_prose_may_wrap_and_code_may_not(make_chunk: MakeChunk) -> None:
    hits = tuple(Hit(1.0, make_chunk(language=name), None) for name in ("markdown", "python"))
    assert re.findall(r'<pre class="source (\w+)">', show(Exchange("How?", evidence=hits))) == [
        "prose",
        "code",
    ]


def test_a_passage_says_where_it_stands_for_the_viewer(make_chunk: MakeChunk) -> None:
    chunk = make_chunk("one\ntwo\n", path='a"b.py', start_line=7)
    (place,) = re.findall(r"<details [^>]*>", show(cited([Hit(1.0, chunk, URL)], (1, 7, 7))))
    assert f'data-path="a&quot;b.py" data-commit="{chunk.commit}"' in place
    assert f'data-start="7" data-end="8" data-url="{URL}"' in place
    (place,) = re.findall(r"<details [^>]*>", show(cited([Hit(1.0, chunk, "javascript:x")])))
    assert 'data-url=""' in place


def test_what_the_cited_lines_do_not_hold_is_said_beside_them(make_chunk: MakeChunk) -> None:
    exchange = cited([Hit(1.0, make_chunk("one\ntwo\nthree\n"), None)], (1, 1, 1), (1, 3, 3))
    answer = exchange.drafts[0].answer
    assert answer
    answer = replace(answer, doubts=(Doubt(answer.citations[1], ("take_<all>",)),))
    html = show(replace(exchange, drafts=(Draft(answer=answer),)))
    assert re.findall(r'class="line([ a-z]*)" id', html) == [
        " cited",
        "",
        " cited doubted",
    ]
    assert "The answer cites L3 for <code>take_&lt;all&gt;</code>: not there." in html
    assert html.count("not there") == 1


def test_in_haste_what_is_folded_is_not_highlighted(make_chunk: MakeChunk) -> None:
    hits = tuple(Hit(1.0, make_chunk("a < b\n", path=f"{name}.py"), None) for name in "abc")
    exchange = Exchange("How?", evidence=hits)
    coloured = [f"<b>{escape('a < b')}</b>"]
    html = evidence_html([exchange], lambda _: coloured, in_haste=True)
    assert html.count("<b>a &lt; b</b>") == 2  # those that are unfolded
    assert html.count("a &lt; b") == 3
    assert evidence_html([exchange], lambda _: coloured).count("<b>a &lt; b</b>") == 3
