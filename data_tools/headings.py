"""Sections of prose: Markdown, reStructuredText and AsciiDoc headings, with their outline."""

import re
from collections.abc import Iterator

_ATX = re.compile(r"^ {0,3}(#{1,6})\s+(.*)")
_ASCIIDOC = re.compile(r"^(={1,6})\s+(\S.*)")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)")
_FRONT_MATTER = re.compile(r"^(---|\+\+\+)\s*$")
_ASCIIDOC_BLOCK = re.compile(r"^([-.=*_+/])\1{3,}\s*$|^```")
_UNDERLINE = re.compile(r"^([=\-`:'\"~^_*+#<>.])\1{2,}\s*$")
_LINK = re.compile(r"!?\[([^][]*)\]\([^()]*\)")
_TAG = re.compile(r"</?(?:a|b|br|code|i|img|kbd|small|span|sub|sup)\b[^<>]*>")
_MARKDOWN_UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})\s*$")
_SUBSTITUTION = re.compile(r"\|[^|\s]+\|\s*")  # of reStructuredText: `|:rocket:| Title`
SEPARATOR = " › "
MAX_TITLE_CHARS = 80  # longer ones are sentences


def split_sections(lines: list[str], language: str) -> list[tuple[int, int, str]]:
    """Split prose at its headings.

    :param lines: the file's lines.
    :param language: a prose language of `data_tools.languages`; others have no headings.
    :return: (start, end, title) with 0-based lines, `end` exclusive, covering all lines; the
        title is the outline down to the section, such as `Guide › Install`.
    """
    if not lines:
        return []
    starts: list[tuple[int, str]] = []
    outline: list[tuple[int, str]] = []
    for index, level, title in _headings(lines, language):
        while outline and outline[-1][0] >= level:
            outline.pop()
        title = _SUBSTITUTION.sub("", title) or title
        outline.append((level, title[:MAX_TITLE_CHARS].rstrip()))
        starts.append((index, SEPARATOR.join(part for _, part in outline)))
    if not starts or starts[0][0] > 0:
        starts.insert(0, (0, ""))
    ends = [index for index, _ in starts[1:]] + [len(lines)]
    return [(start, end, title) for (start, title), end in zip(starts, ends, strict=True)]


def _headings(lines: list[str], language: str) -> Iterator[tuple[int, int, str]]:
    """Yield (line index, level, title) of each heading."""
    if language in ("markdown", "jupyter"):
        yield from _markdown_headings(lines)
    elif language == "restructuredtext":
        yield from _underlined_headings(lines)
    elif language == "asciidoc":
        yield from _asciidoc_headings(lines)


def _asciidoc_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    block = ""  # the line that ends the listing, example or comment we are in
    for index, line in enumerate(lines):
        if block:
            block = "" if line.rstrip() == block else block
        elif _ASCIIDOC_BLOCK.match(line):
            block = line.rstrip() if line[0] != "`" else "```"
        elif match := _ASCIIDOC.match(line):
            yield index, len(match[1]), match[2].rstrip()


def _markdown_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    fence = ""
    body = _skip_front_matter(lines)
    for index in range(body, len(lines)):
        line = lines[index]
        if match := _FENCE.match(line):
            if not fence:
                fence = match[1]
            elif match[1].startswith(fence) and not re.search(r"\w", match[2]):
                fence = ""  # ended even where a comment ends on the same line: ```-->
        elif fence:
            continue
        elif match := _ATX.match(line):
            if title := _strip_markup(_without_closing(match[2].rstrip())):
                yield index, len(match[1]), title
        elif (
            (match := _MARKDOWN_UNDERLINE.match(line))
            and index > body
            and re.match(r"^ {0,3}[^\s>*+#|-]", lines[index - 1])
            and (index == body + 1 or not lines[index - 2].strip())
        ):
            level = 1 if match[1][0] == "=" else 2
            yield index - 1, level, _strip_markup(lines[index - 1].strip())


def _without_closing(title: str) -> str:
    """Leave out the signs that may close a Markdown heading: `## Title ##`."""
    bare = title.rstrip("#")
    return bare.rstrip() if bare[-1:].isspace() else title


def _strip_markup(title: str) -> str:
    """Leave the words of links and images; a badge is an image in a link."""
    return _TAG.sub("", _LINK.sub(r"\1", _LINK.sub(r"\1", title))).strip()


def _skip_front_matter(lines: list[str]) -> int:
    """Return the first line after the YAML or TOML that static site generators read."""
    opening = _FRONT_MATTER.match(lines[0]) if lines else None
    if opening is None:
        return 0
    ends = (i for i in range(1, len(lines)) if lines[i].rstrip() == opening[1])
    return next(ends, -1) + 1


def _underlined_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    levels: list[str] = []  # an underline's level is the order in which it first appears
    for index in range(1, len(lines)):
        underline = _UNDERLINE.match(lines[index])
        title = lines[index - 1].rstrip()
        if (
            not underline
            or not title
            or _UNDERLINE.match(title)
            or len(lines[index].rstrip()) < len(title)
        ):
            continue
        overline = index >= 2 and lines[index - 2].rstrip() == lines[index].rstrip()
        if title[0].isspace() and not overline:
            continue
        if not overline and index >= 2 and lines[index - 2].strip():
            continue
        style = underline[1] * (2 if overline else 1)
        if style not in levels:
            levels.append(style)
        yield index - 1 - overline, levels.index(style) + 1, title.strip()
