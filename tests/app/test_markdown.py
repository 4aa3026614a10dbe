"""An answer's Markdown is shown as safe HTML, whatever a model or a repository wrote."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.markdown import block_starts, cut_half_citation, render_blocks

LINK = '<a class="citation" href="#a1p1L3">bucket.py#L3-L4</a>'
CITATIONS = {(1, 3, 4): LINK}


def render(text: str) -> str:
    return "".join(render_blocks(text, CITATIONS))


def test_a_known_citation_becomes_its_link() -> None:
    assert render("It refills [1:L3-L4].") == f"<p>It refills {LINK}.</p>"


@pytest.mark.parametrize(
    "text", ["an unknown one [2:L3-L4]", "`[1:L3-L4]`", "```\n[1:L3-L4]\n```", "    [1:L3-L4]"]
)
def test_code_and_unknown_citations_stay_as_they_are(text: str) -> None:
    assert "<a" not in render(text)
    assert "L3-L4]" in render(text)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<img src="http://evil.example/x.png" onerror="alert(1)">',
        "before <b onclick=alert(1)>bold</b>",
        "![a cat](http://evil.example/x.png)",
        "![a cat][1]\n\n[1]: http://evil.example/x.png",
        "[click](javascript:alert(1))",
        "[click](JaVaScRiPt:alert(1))",
        "[click](data:text/html;base64,PHNjcmlwdD4=)",
        "[click](vbscript:x)",
        "[click](//evil.example)",
        "[click](docs/guide.md)",
        "<javascript:alert(1)>",
        '[click](http://a.example/"onmouseover="alert(1))',
        "```<script>\n</code></pre><script>alert(1)</script>\n```",
        "`</code><script>`",
    ],
)
def test_nothing_in_an_answer_runs_or_loads(text: str) -> None:
    html = render(text)
    assert not re.search(r"<(script|img|iframe|svg|style|link|b)\b", html)
    assert not re.search(r"<[^>]*\bon\w+=", html)
    assert all(link.startswith("http") for link in re.findall(r'href="([^"]*)"', html))


def test_a_web_link_opens_apart_and_says_nothing_of_us() -> None:
    html = render("[paper](https://example.org/paper)")
    assert 'href="https://example.org/paper"' in html
    assert 'target="_blank" rel="noopener noreferrer nofollow"' in html


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[the docs](https://evil.example/?q=secret)", "evil.example"),
        ("[https://good.example](https://evil.example)", "evil.example"),
        ("[good.example](https://evil.example)", "evil.example"),
        ("[`good`](https://g\u043e\u043ed.example/)", "xn--gd-fmca.example"),  # Cyrillic
        ("<https://evil.example/?q=secret>", None),
        ("[https://evil.example/a](https://evil.example/b)", None),
    ],
)
def test_a_link_says_which_host_it_leads_to(text: str, host: str | None) -> None:
    html = render(text)
    assert html.count("<a ") == 1
    assert re.findall(r'<span class="host">\((.*?)\)</span>', html) == ([host] if host else [])


@pytest.mark.parametrize(
    "address",
    [
        "https://good.example@evil.example",
        "https://good.example%5c@evil.example",
        "https://evil.example\\@good.example",
        "https:evil.example",
        "https:/evil.example",
        "https://[evil",
        "https://",
    ],
)
def test_an_address_whose_host_could_be_misread_is_no_link(address: str) -> None:
    assert "<a" not in render(f"[text]({address}) <{address}>")


def test_what_cannot_be_seen_in_an_answer_is_shown() -> None:
    assert render("a\u202eb `c\x1b[2J`") == render("a\ufffdb `c\ufffd[2J`")


def test_a_citation_inside_a_link_makes_no_link_in_a_link() -> None:
    assert render("[see [1:L3-L4]](https://example.org)").count("<a") == 1


def test_every_block_is_one_element() -> None:
    text = (
        "# Title\n\n- one\n- two\n\n```python\nif x:\n\n    y = '<b>'\n```\n\n> quoted\n> so\n\n---"
    )
    blocks = render_blocks(text, {})
    assert [block.split(">")[0] for block in blocks] == [
        "<h1",
        "<ul",
        '<div class="code"',
        "<blockquote",
        "<hr /",
    ]


def test_blocks_begin_where_they_begin_in_the_text() -> None:
    text = "One\nmore.\r\n\n- two\n\n  still\n\n```\n\nfour\n```\nFive"
    starts = block_starts(text)
    assert [text[start : start + 3] for start in starts] == ["One", "- t", "```", "Fiv"]
    assert block_starts("one line") == [0]


def test_code_is_highlighted_in_its_language() -> None:
    assert '<span class="hl-k">return</span>' in render("```python\nreturn 1\n```")


def test_a_table_can_scroll_by_itself() -> None:
    assert render("| a | b |\n|---|---|\n| 1 | 2 |").startswith('<div class="table"><table>')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It refills [1", "It refills"),
        ("It refills [1:L3", "It refills"),
        ("It refills [1:L3-", "It refills"),
        ("It refills [1:L3-L4]", "It refills [1:L3-L4]"),
        ("see [the", "see [the"),
    ],
)
def test_half_a_citation_is_not_shown_while_it_streams(text: str, shown: str) -> None:
    assert cut_half_citation(text) == shown


@given(st.text(alphabet=st.sampled_from("<>&\"'`[]()!*_#-|:L13\n ~a\\")))
def test_whatever_is_written_only_our_own_tags_come_out(text: str) -> None:
    tags = set(re.findall(r"</?([a-z0-9]+)", render(text)))
    assert tags <= {
        *("p", "a", "b", "code", "pre", "div", "span", "em", "strong", "s", "ul", "ol", "li", "hr"),
        *("br", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
