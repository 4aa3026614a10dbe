"""Sections of prose: Markdown, reStructuredText and AsciiDoc headings, with their outline."""

import re
from collections.abc import Iterator

_ATX = re.compile(r"^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_ASCIIDOC = re.compile(r"^(={1,6})\s+(\S.*?)\s*$")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")
_UNDERLINE = re.compile(r"^([=\-`:'\"~^_*+#<>.])\1{2,}\s*$")
_MARKDOWN_UNDERLINE = re.compile(r"^ {0,3}(=+|-{2,})\s*$")
SEPARATOR = " › "


def split_sections(lines: list[str], language: str) -> list[tuple[int, int, str]]:
    """Split prose at its headings.

    :param lines: the file's lines.
    :param language: a prose language of `data_tools.languages`; others have no headings.
    :return: (start, end, title) with 0-based lines, `end` exclusive, covering all lines; the
        title is the outline down to the section, such as `Guide › Install`.
    """
    starts: list[tuple[int, str]] = []
    outline: list[tuple[int, str]] = []
    for index, level, title in _headings(lines, language):
        while outline and outline[-1][0] >= level:
            outline.pop()
        outline.append((level, title))
        starts.append((index, SEPARATOR.join(part for _, part in outline)))
    if lines and (not starts or starts[0][0] > 0):
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
        for index, line in enumerate(lines):
            if match := _ASCIIDOC.match(line):
                yield index, len(match[1]), match[2]


def _markdown_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    fence = ""
    for index, line in enumerate(lines):
        if match := _FENCE.match(line):
            fence = "" if fence == match[1] else fence or match[1]
        elif fence:
            continue
        elif match := _ATX.match(line):
            yield index, len(match[1]), match[2]
        elif (
            (match := _MARKDOWN_UNDERLINE.match(line))
            and index
            and re.match(r"^ {0,3}[^\s>*+#|-]", lines[index - 1])
            and (index == 1 or not lines[index - 2].strip())
        ):
            yield index - 1, 1 if match[1][0] == "=" else 2, lines[index - 1].strip()


def _underlined_headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    levels: list[str] = []  # an underline's level is the order in which it first appears
    for index in range(1, len(lines)):
        underline = _UNDERLINE.match(lines[index])
        title = lines[index - 1].rstrip()
        if (
            not underline
            or not title
            or title[0].isspace()
            or _UNDERLINE.match(title)
            or len(lines[index].rstrip()) < len(title)
        ):
            continue
        overline = index >= 2 and lines[index - 2].rstrip() == lines[index].rstrip()
        if not overline and index >= 2 and lines[index - 2].strip():
            continue
        style = underline[1] * (2 if overline else 1)
        if style not in levels:
            levels.append(style)
        yield index - 1 - overline, levels.index(style) + 1, title
