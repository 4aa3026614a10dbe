"""A web page as a document: its content as Markdown, its headings' anchors, its links.

The content is where the usual generators of documentation (Sphinx, MkDocs, Docusaurus, mdBook and
their like) or HTML's own elements say it is; on other pages trafilatura finds it. Scripts are not
run: a page that a script writes has no text.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import lxml.html
from lxml import etree
from lxml.html import HtmlElement

from data_tools.docs_markdown import Markdown, to_markdown
from data_tools.web_address import canonical_url

MAX_LINKS = 5_000  # taken from one page
MAX_TITLE_CHARS = 200
MAX_SEARCHED_BYTES = 1_000_000  # of a page in which trafilatura looks for the content: seconds
# Where the content is, the surest first.
_CONTENT = (
    "//*[contains(concat(' ', @class, ' '), ' theme-doc-markdown ')]",  # Docusaurus
    "//*[@itemprop='articleBody']",  # Sphinx, Read the Docs' theme
    "//article[contains(@class, 'md-content__inner') or @role='main']",  # MkDocs Material, Furo
    "//*[contains(concat(' ', @class, ' '), ' sl-markdown-content ')]",  # Starlight
    "//*[@role='main']",  # Sphinx's other themes, MkDocs
    "//main//article",
    "//article",
    "//main",
    "//*[@id='main-content' or @id='content']",
    "//*[contains(concat(' ', @class, ' '), ' markdown-body ')]",
)
_REFRESH = re.compile(r"^\s*\d+(?:\.\d*)?\s*[;,]\s*url\s*=\s*['\"]?([^'\"]+)", re.IGNORECASE)
_CHARSET = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?([\w-]{1,40})""", re.IGNORECASE)
_SITE_NAME = re.compile(r" [|–—·»•-] ")  # between a page's title and its site's


class Anchor(NamedTuple):
    """From which line on which id of the page leads there.

    :param line: 1-based.
    """

    line: int
    id: str


@dataclass(frozen=True)
class Document:
    """What a page says, and where it leads.

    :param text: Markdown; empty where the page has none.
    :param anchors: in the order of their lines.
    :param links: as `canonical_url` writes them, each once, other hosts' too.
    :param moved_to: where the page sends its readers at once, if it does.
    """

    text: str
    anchors: tuple[Anchor, ...]
    links: tuple[str, ...]
    moved_to: str | None = None


def read_document(body: bytes, url: str, charset: str | None = None) -> Document:
    """Read a page of HTML.

    :param url: its address, to which links are relative.
    :param charset: as the server gives it; else what the page itself says counts, else UTF-8.
    """
    root = _parse(body, charset)
    if root is None:
        return Document("", (), ())
    links = _links(root, url)
    moved_to = _moved_to(root, url)
    if moved_to:
        return Document("", (), links, moved_to)
    content = _find_content(root)
    title = _title(root)
    markdown = to_markdown(content) if content is not None else _extract(root)
    text = markdown.text
    anchors = [Anchor(line, name) for line, name in markdown.anchors]
    if title and text.strip() and not re.search(r"^# ", text, re.MULTILINE):
        text = f"# {title}\n\n{text}"
        anchors = [Anchor(line + 2, name) for line, name in anchors]
    return Document(text if text.strip() else "", tuple(anchors), links)


def _parse(body: bytes, charset: str | None) -> HtmlElement | None:
    """Parse any bytes; None where nothing comes of it."""
    parser = lxml.html.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=False
    )
    text = _decode(body, charset).encode("utf-8", errors="replace")
    try:
        return lxml.html.document_fromstring(text, parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        return None


def _decode(body: bytes, charset: str | None) -> str:
    declared = _CHARSET.search(body[:2_000])
    for name in (charset, declared and declared[1].decode("ascii")):
        with contextlib.suppress(LookupError, UnicodeError):  # a character set that is none
            return body.decode(name or "none", errors="replace")
    return body.decode("utf-8", errors="replace")


def _find_content(root: HtmlElement) -> HtmlElement | None:
    for path in _CONTENT:
        found = root.xpath(path)
        if len(found) == 1 and found[0].text_content().strip():
            return found[0]
    return None


def _extract(root: HtmlElement) -> Markdown:
    """Find the content of a page of unknown make, and its headings' anchors by their titles.

    What is too large to be searched is taken whole.
    """
    import trafilatura

    named = to_markdown(root)
    html = lxml.html.tostring(root, encoding="unicode")
    if len(html) > MAX_SEARCHED_BYTES:
        return named
    text = trafilatura.extract(
        html,
        output_format="markdown",
        include_comments=False,
        include_tables=True,
        include_formatting=True,
        favor_recall=True,
    )
    markdown = Markdown((text or "").splitlines())
    anchors = {named.lines[line - 1].lstrip("# "): name for line, name in named.anchors}
    for number, line in enumerate(markdown.lines, start=1):
        if line.startswith("#") and line.lstrip("# ") in anchors:
            markdown.anchors.append((number, anchors[line.lstrip("# ")]))
    return markdown


def _title(root: HtmlElement) -> str:
    title = " ".join((root.findtext(".//title") or "").split())
    return _SITE_NAME.split(title, maxsplit=1)[0][:MAX_TITLE_CHARS]


def _moved_to(root: HtmlElement, url: str) -> str | None:
    """Read the address that a page of redirection names, as static sites have no other way."""
    for meta in root.iter("meta"):
        if (meta.get("http-equiv") or "").lower() == "refresh":
            match = _REFRESH.match(meta.get("content") or "")
            target = canonical_url(match[1], url) if match else None
            if target and target != url:
                return target
    return None


def _links(root: HtmlElement, url: str) -> tuple[str, ...]:
    base = root.find(".//base[@href]")
    if base is not None:
        url = canonical_url(base.get("href"), url) or url
    found: Iterable[str | None] = (
        canonical_url(link.get("href"), url)
        for link in root.iter("a")
        if link.get("href") and "nofollow" not in (link.get("rel") or "").lower()
    )
    return tuple(dict.fromkeys(link for link in found if link))[:MAX_LINKS]
