"""Pages of HTML as Markdown, as the usual generators write them."""

from pathlib import Path

import pytest

from data_tools.docs_page import Document, read_document

PAGES = Path(__file__).parent.parent / "data" / "docs_site"
URL = "https://docs.example/guide/page.html"

SPHINX = """\
# Token buckets

A bucket holds `capacity` tokens. See how to install.

## Refilling

```python
def refill(now):
    return now * rate
```

```
plain
```

| Name | Default |
| --- | --- |
| `rate` | 2 \\| second |

## API

### class limits.TokenBucket(capacity)

Holds tokens.

#### take()

Takes one.

- Returns
  whether there was one
"""
MKDOCS = """\
# Install

Careful

Python 3.11 or newer.

pip

uv

shell

```bash
pip install limits
# done
```

## From source

- clone it
- build it:
  3. configure
  4. make

> Patience.
"""
DOCUSAURUS = """\
# Retry

Wait for as many seconds as the header Retry-After says, then ask again; a client that asks sooner
is only told to wait once more.

## In TypeScript

client.ts

```ts
for (;;) {
  await retry();
}
```

Why?

Because.
"""


def read(html: str) -> Document:
    """A page whose body is `html`."""
    return read_document(f"<html><body>{html}</body></html>".encode(), URL)


@pytest.mark.parametrize(
    ("name", "text"), [("sphinx", SPHINX), ("mkdocs", MKDOCS), ("docusaurus", DOCUSAURUS)]
)
def test_only_the_content_of_a_page_is_kept_and_its_code_is_whole(name: str, text: str) -> None:
    assert read_document((PAGES / f"{name}.html").read_bytes(), URL).text == text


@pytest.mark.parametrize(
    ("name", "anchors"),
    [
        (
            "sphinx",
            {
                "# Token buckets": "token-buckets",
                "## Refilling": "refilling",
                "## API": "api",
                "### class limits.TokenBucket(capacity)": "limits.TokenBucket",
                "#### take()": "limits.TokenBucket.take",
            },
        ),
        ("mkdocs", {"# Install": "install", "## From source": "from-source"}),
        ("docusaurus", {"## In TypeScript": "in-typescript"}),
    ],
)
def test_each_heading_has_its_anchor(name: str, anchors: dict[str, str]) -> None:
    document = read_document((PAGES / f"{name}.html").read_bytes(), URL)
    lines = document.text.splitlines()
    assert {lines[line - 1]: anchor for line, anchor in document.anchors} == anchors


def test_links_are_those_of_the_whole_page_each_once() -> None:
    links = read_document((PAGES / "sphinx.html").read_bytes(), URL).links
    assert links[:2] == (
        "https://docs.example/guide/install.html",
        "https://docs.example/guide/genindex.html",
    )
    assert len(set(links)) == len(links)


def test_links_are_relative_to_what_the_page_says() -> None:
    html = '<head><base href="/other/"></head><a href="x">x</a><a rel="nofollow" href="y">y</a>'
    assert read(html).links == ("https://docs.example/other/x",)


@pytest.mark.parametrize(
    ("html", "language"),
    [
        ('<pre><code class="hljs language-rust">f()</code></pre>', "rust"),
        ('<div class="highlight highlight-source-shell"><pre>f()</pre></div>', "shell"),
        ('<pre class="brush: js">f()</pre>', "js"),
        ('<figure data-language="c++"><pre><code>f()</code></pre></figure>', "c++"),
        ('<div class="highlight-none notranslate"><pre>f()</pre></div>', ""),
        ('<pre class="literal-block">f()</pre>', ""),
    ],
)
def test_a_code_block_s_language_is_read_off_its_classes(html: str, language: str) -> None:
    assert read(f"<main>{html}</main>").text == f"```{language}\nf()\n```\n"


def test_code_that_holds_a_fence_gets_a_longer_one() -> None:
    assert read("<main><pre>```\nx\n```</pre></main>").text == "````\n```\nx\n```\n````\n"


def test_no_line_of_a_paragraph_begins_like_a_heading() -> None:
    text = read(f"<main><p>{'x' * 98} # of them</p><p># one</p></main>").text
    assert [line for line in text.splitlines() if line.startswith("#")] == []


def test_a_page_without_a_heading_is_headed_by_its_title() -> None:
    html = '<head><title>Rates · Limits</title></head><main><h2 id="a">A</h2><p>B</p></main>'
    document = read(html)
    assert document.text == "# Rates\n\n## A\n\nB\n"
    assert document.anchors == ((3, "a"),)


def test_the_content_of_a_page_of_unknown_make_is_found() -> None:
    words = "A bucket holds as many tokens as a client may use at once, and gains some. " * 5
    document = read(
        '<div class="menu"><a href="a">Home</a> <a href="b">Shop</a></div>'
        f'<div class="text"><h2 id="rate">Rates</h2><p>{words}</p><p>{words}</p></div>'
        '<div class="bottom">All rights reserved</div>'
    )
    assert "A bucket holds as many tokens" in document.text
    assert "Shop" not in document.text
    lines = document.text.splitlines()
    assert [(lines[line - 1], name) for line, name in document.anchors] == [("## Rates", "rate")]


def test_a_page_that_sends_its_readers_on_says_where() -> None:
    html = '<head><meta http-equiv="Refresh" content="0; url=\'new/\'"></head><main>Moved</main>'
    document = read(html)
    assert document.moved_to == "https://docs.example/guide/new/"
    assert document.text == ""


def test_the_character_set_is_the_server_s_else_the_page_s_else_utf_8() -> None:
    latin = "<main><p>café</p></main>".encode("latin-1")
    assert read_document(latin, URL, "latin-1").text == "café\n"
    meta = b'<head><meta charset="latin-1"></head>'
    assert read_document(meta + latin, URL).text == "café\n"
    assert read_document("<main><p>café</p></main>".encode(), URL, "no-such-set").text == "café\n"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\xff\xfe\x00",
        b"<main></main>",
        b"<main><script>document.write('x')</script></main>",
        b"<table>" * 3_000,
        b"<main>" + b"<span>" * 20_000,
        b"<main><pre>" + b"<b>" * 20_000,
        b"<main>" + b"<ul><li>" * 5_000,
    ],
)
def test_pages_without_text_or_nested_without_end_do_no_harm(body: bytes) -> None:
    assert len(read_document(body, URL).text) < 10
