"""The content of a web page as Markdown, with the anchor that each heading has on the page.

Headings, code blocks with their language, lists, tables and definitions are kept; what only helps
to find one's way (permalink signs, breadcrumbs, "edit this page", copy buttons) is left out.
General extractors keep the words but lose the code's language and the anchors, which citations
need. Paragraphs are wrapped, because lines are what is cited.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from lxml.html import HtmlElement

LINE_CHARS = 100
MAX_DEPTH = 60  # nested elements that are told apart; deeper ones are text
MAX_CLASS_CHARS = 300  # of an element's class names; more is made to take long
MAX_CELL_CHARS = 2_000  # of a table's row: what is longer is layout

_SILENT = frozenset(
    "script style noscript template svg nav footer form button iframe object canvas video audio "
    "img picture input select textarea head link meta dialog".split()
)
_BLOCKS = frozenset(
    "address article aside blockquote body center dd details div dl dt fieldset figcaption figure "
    "h1 h2 h3 h4 h5 h6 header hgroup hr html label li main ol p pre section summary table tbody td "
    "tfoot th thead tr ul".split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_SILENT_ROLES = frozenset(
    "navigation search banner contentinfo complementary dialog toolbar tablist doc-toc".split()
)
# Class names by which the usual generators call what is not content.
_SILENT_CLASS = re.compile(
    r"(?:^|\s)(?:headerlink|hash-link|header-anchor|heading-anchor|anchor-link|anchorjs-link|"
    r"viewcode-link|viewcode-back|[\w-]*breadcrumbs?[\w-]*|(?:local-|page-)?toc|table-of-contents|"
    r"contents local(?: topic)?|contents topic|tableOfContents\w*|pagination[\w-]*|"
    r"prev-next[\w-]*|rst-footer-buttons|"
    r"edit-(?:this-)?page|edit-link|theme-edit-this-page|theme-doc-(?:footer|toc|version)[\w-]*|"
    r"md-(?:nav|sidebar|footer|source-file|content__button|tabs|clipboard)[\w-]*|"
    r"(?:copy|clipboard)[\w-]*(?:button|btn)?|copybtn|buttonGroup\w*|sr-only|visually-hidden|"
    r"skip-?link|linenos|linenodiv|lineno|gutter|sphinxsidebar\w*|related|feedback[\w-]*|"
    r"announcement[\w-]*|katex-html|MathJax[\w-]*)(?=\s|$)"
)
_CODE_CLASS = re.compile(
    r"(?:^|\s)(?:(?:highlight[\s-]source|highlight|language|lang)-|brush:\s*)([A-Za-z][\w+#.]*)"
)
_NO_LANGUAGE = frozenset(
    "default none text plaintext plain txt notranslate highlight block".split()
)
_PERMALINK_SIGN = re.compile(r"[¶#§\u200b🔗\s]*")
_SPACES = re.compile(r"[ \t\r\n\f\v]+")
_NO_BREAK = "\x00"  # a space within code, while a paragraph is wrapped


@dataclass
class Markdown:
    """Lines of Markdown, and from which of them on which anchor of the page leads there.

    :ivar lines: without newlines.
    :ivar anchors: (line, id) in order; lines are 1-based.
    """

    lines: list[str] = field(default_factory=list)
    anchors: list[tuple[int, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The whole text, ending with a newline."""
        return "\n".join(self.lines).strip("\n") + "\n"


def to_markdown(content: HtmlElement) -> Markdown:
    """Write the content of a page as Markdown.

    :param content: the element that holds it, such as `<main>`.
    """
    writer = _Writer()
    writer.write_children(content, 0)
    return writer.out


class _Writer:
    """Writes elements one after another, each block apart from the one before."""

    def __init__(self) -> None:
        self.out = Markdown()
        self._level = 0  # of the last heading
        self._prefix = ""  # of all lines, within lists and quotations
        self._bullet: str | None = None  # instead of it, of the next line
        self._tight = False  # no blank line before that one

    def write_children(self, element: HtmlElement, depth: int) -> None:
        """Write what an element holds: runs of text as paragraphs, and its blocks."""
        run: list[str] = [element.text or ""]
        for child in element:
            if not isinstance(child.tag, str) or _is_silent(child):
                pass
            elif depth < MAX_DEPTH and _holds_blocks(child):
                self._paragraph(run)
                self._block(child, depth + 1)
            else:
                run.append(_inline(child))
            run.append(child.tail or "")
        self._paragraph(run)

    def _block(self, element: HtmlElement, depth: int) -> None:
        tag = element.tag
        if tag in _HEADINGS:
            self._heading(element, _HEADINGS[tag])
        elif tag == "pre":
            self._code(element)
        elif tag in ("ul", "ol"):
            self._list(element, depth)
        elif tag == "dl":
            self._definitions(element, depth)
        elif tag == "table":
            self._table(element, depth)
        elif tag == "blockquote":
            quoted = self._prefix + "> "
            self._nested(element, depth, quoted, quoted)
        else:
            self.write_children(element, depth)

    def _nested(
        self, element: HtmlElement, depth: int, bullet: str, prefix: str, *, tight: bool = False
    ) -> None:
        """Write what an element holds behind a prefix, and its first line behind a bullet."""
        before = self._prefix
        self._prefix, self._bullet, self._tight = prefix, bullet, tight
        self.write_children(element, depth)
        self._prefix, self._bullet = before, None

    def _heading(self, element: HtmlElement, level: int) -> None:
        title = _clean(_inline(element)).replace("`", "")  # titles are names of chunks as well
        if title:
            self._level = level
            self._emit(["#" * level + " " + title], anchor=_anchor_of(element))

    def _code(self, element: HtmlElement) -> None:
        text = _verbatim(element).strip("\n").expandtabs(4)
        if not text.strip():
            return
        longest = max((len(run) for run in re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        lines = [line.rstrip() for line in textwrap.dedent(text).split("\n")]
        self._emit([fence + _language_of(element), *lines, fence])

    def _list(self, element: HtmlElement, depth: int) -> None:
        start = element.get("start", "1")
        number = int(start) if start.isdecimal() and len(start) < 5 else 1
        within_list = self._prefix.endswith("  ")
        for place, item in enumerate(element.iterchildren("li")):
            mark = f"{number + place}. " if element.tag == "ol" else "- "
            bullet, prefix = self._prefix + mark, self._prefix + " " * len(mark)
            self._nested(item, depth, bullet, prefix, tight=place > 0 or within_list)

    def _definitions(self, element: HtmlElement, depth: int) -> None:
        """Write signatures (of Sphinx) as headings, other terms as items of a list."""
        level = self._level
        for part in _definition_parts(element):
            if part.tag == "dt" and "sig" in (part.get("class") or "").split():
                self._heading(part, min(level + 1, 6))
            elif part.tag == "dt":
                if term := _clean(_inline(part)):
                    self._bullet, self._tight = self._prefix + "- ", False
                    self._emit([term], anchor=part.get("id"))
            elif self._level > level:
                self.write_children(part, depth)
            else:
                indented = self._prefix + "  "
                self._nested(part, depth, indented, indented, tight=True)
        self._level = level

    def _table(self, element: HtmlElement, depth: int) -> None:
        code = [each for each in element.iter("pre") if not _is_silent(each.getparent())]
        if code:  # line numbers in one column, the code in the other
            for each in code:
                self._code(each)
            return
        rows = [
            [_clean(_inline(cell)).replace("|", "\\|") for cell in row if cell.tag in ("td", "th")]
            for row in element.iter("tr")
        ]
        rows = [row for row in rows if any(row)]
        if any(sum(map(len, row)) > MAX_CELL_CHARS for row in rows):
            for child in element:
                self.write_children(child, depth)
        elif rows:
            width = max(map(len, rows))
            lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
            self._emit([lines[0], "|" + " --- |" * width, *lines[1:]])

    def _paragraph(self, run: list[str]) -> None:
        text = _clean("".join(run))
        run.clear()
        if text:
            self._emit(_wrap(text, LINE_CHARS - len(self._prefix)))

    def _emit(self, lines: list[str], anchor: str | None = None) -> None:
        """Append a block, with a blank line before it unless it goes on with a list."""
        out = self.out.lines
        if out and self._bullet is None:
            out.append(self._prefix.rstrip())
        elif out and not self._tight:
            out.append("")
        if anchor:
            self.out.anchors.append((len(out) + 1, anchor))
        for line in lines:
            prefix = self._prefix if self._bullet is None else self._bullet
            out.append((prefix + line.replace(_NO_BREAK, " ")).rstrip())
            self._bullet = None


def _is_silent(element: HtmlElement) -> bool:
    if element.tag in _SILENT or element.get("aria-hidden") == "true":
        return True
    if element.get("role") in _SILENT_ROLES:
        return True
    classes = element.get("class")
    return bool(classes and _SILENT_CLASS.search(classes[:MAX_CLASS_CHARS]))


def _holds_blocks(element: HtmlElement) -> bool:
    return element.tag in _BLOCKS or any(
        child.tag in _BLOCKS for child in element.iterdescendants()
    )


def _definition_parts(element: HtmlElement) -> Iterator[HtmlElement]:
    for child in element:
        if child.tag in ("dt", "dd"):
            yield child
        elif child.tag == "div":  # a group, as HTML allows
            yield from (part for part in child if part.tag in ("dt", "dd"))


def _inline(element: HtmlElement) -> str:
    """Return an element's words; code in backticks, its spaces kept."""
    if element.tag == "br":
        return " "
    if element.tag == "math":  # written twice: as MathML, and as it was typed
        return str(element.findtext(".//annotation") or element.text_content())
    if element.tag == "code" or (element.tag in ("tt", "kbd", "samp") and len(element) == 0):
        return _code_span(element)
    parts = [element.text or ""]
    for child in element:
        if isinstance(child.tag, str) and not _is_silent(child) and not _is_permalink(child):
            space = " " if child.tag in _BLOCKS else ""
            parts += [space, _inline(child), space]
        parts.append(child.tail or "")
    return "".join(parts)


def _code_span(element: HtmlElement) -> str:
    text = _SPACES.sub(" ", _verbatim(element)).strip()
    if not text:
        return ""
    fence = "``" if "`" in text else "`"
    return fence + text.replace(" ", _NO_BREAK) + fence


def _verbatim(element: HtmlElement) -> str:
    """Return the text of code as it is, line breaks too; line numbers and buttons left out."""
    parts = [element.text or ""]
    for child in element:
        if child.tag == "br":
            parts.append("\n")
        elif isinstance(child.tag, str) and not _is_silent(child):
            text = _verbatim(child)
            is_line = child.tag == "div" or "display:block" in (child.get("style") or "")
            parts.append(text + "\n" if is_line and not text.endswith("\n") else text)
        parts.append(child.tail or "")
    return "".join(parts)


def _is_permalink(element: HtmlElement) -> bool:
    """Tell whether it is a sign that only links to where it stands."""
    is_local = element.tag == "a" and (element.get("href") or "").startswith("#")
    return is_local and _PERMALINK_SIGN.fullmatch(element.text_content()) is not None


def _anchor_of(heading: HtmlElement) -> str | None:
    """Find what links to a heading: its own id, that of an anchor in it, or its section's."""
    own = heading.get("id")
    if own:
        return str(own)
    for inner in heading.iter("a", "span"):
        name = inner.get("id") or (inner.get("name") if inner.tag == "a" else None)
        if _is_permalink(inner) and len(inner.get("href")) > 1:
            name = unquote(inner.get("href")[1:])
        if name:
            return str(name)
    parent = heading.getparent()
    while parent is not None and parent.tag in ("header", "hgroup", "div", "section"):
        if next(parent.iter(*_HEADINGS), None) is not heading:
            return None
        if parent.get("id") and (parent.tag == "section" or "section" in parent.get("class", "")):
            return str(parent.get("id"))
        parent = parent.getparent()
    return None


def _language_of(code: HtmlElement) -> str:
    """Read a code block's language off the classes of it and of what stands around it."""
    places = [*code.iter("code"), code]
    parent = code.getparent()
    while parent is not None and len(places) < 6 and parent.tag in ("div", "figure", "td"):
        places.append(parent)
        parent = parent.getparent()
    for place in places:
        named = place.get("data-lang") or place.get("data-language")
        match = _CODE_CLASS.search((place.get("class") or "")[:MAX_CLASS_CHARS])
        language = str(named or (match[1] if match else "")).lower()
        if re.fullmatch(r"[\w+#.-]{1,20}", language) and language not in _NO_LANGUAGE:
            return language
    return ""


def _clean(text: str) -> str:
    return _SPACES.sub(" ", text).strip()


def _wrap(text: str, width: int = LINE_CHARS) -> list[str]:
    """Wrap a paragraph; no line may begin like a heading or a fence."""
    lines = textwrap.wrap(text, max(width, 40), break_long_words=False, break_on_hyphens=False)
    return [re.sub(r"^(#{1,6}\s|```|~~~)", r"\\\1", line) for line in lines]
