"""Syntax trees through tree-sitter: which lines of a file belong together, and their names.

Offsets of tree-sitter are bytes; only rows are used here, so they agree with lines of text.
"""

import importlib
import time
from dataclasses import dataclass
from functools import cache

import tree_sitter

from data_tools.definitions import find_definition, find_inner_definitions, name_of
from data_tools.languages import BY_NAME

READ_BYTES = 65_536  # handed to the parser at a time; it checks the clock in between
MAX_INNER_NAMES = 8  # listed for a part that defines several things
MAX_SCOPE_CHARS = 200  # of a qualified name, before the last part; deeper ones lose their end
_SEPARATORS = {"cpp": "::"}  # between the parts of a qualified name; elsewhere a full stop

# The scanner of tree-sitter-bash 0.25.1 looks any character up in a table of 256 and may so end
# the process (its issue 337). Those beyond ASCII are masked, byte by byte, so that offsets stay.
_MASKED_LANGUAGES = frozenset({"shell"})
_MASK = bytes(range(128)) + b"x" * 128
# What stands before a definition and belongs to it.
_LEADING = frozenset(
    "comment line_comment block_comment multiline_comment attribute_item inner_attribute_item "
    "decorator annotation marker_annotation modifiers attribute_list".split()
)


class CannotParseError(Exception):
    """There is no usable syntax tree; the caller cuts the file at blank lines instead."""


@dataclass(frozen=True)
class Part:
    """A node and the rows it is responsible for: those of its leading comments included.

    :param start: 0-based row.
    :param end: 0-based row, exclusive.
    :param symbols: qualified names that it defines, or else that of what it belongs to.
    :param scope: qualified name that those of its children start with, or "".
    """

    node: tree_sitter.Node
    start: int
    end: int
    symbols: tuple[str, ...] = ()
    is_definition: bool = False
    scope: str = ""


@dataclass(frozen=True)
class SyntaxTree:
    """A parsed file."""

    root: tree_sitter.Node
    source: bytes
    language: str


@cache
def _load_grammar(language: str) -> tree_sitter.Language:
    grammar = BY_NAME[language].grammar
    if grammar is None:
        raise CannotParseError(f"no grammar for {language}")
    module, _, function = grammar.partition(":")
    return tree_sitter.Language(getattr(importlib.import_module(module), function)())


def parse(text: str, language: str, deadline: float) -> SyntaxTree:
    """Parse `text`.

    :param deadline: `time.monotonic()` at which to give up.
    :raises CannotParseError: no tree came of it in time.
    """
    source = text.encode("utf-8", errors="replace")
    data = source.translate(_MASK) if language in _MASKED_LANGUAGES else source
    parser = tree_sitter.Parser(_load_grammar(language))
    try:
        tree = parser.parse(
            lambda offset, _point: data[offset : offset + READ_BYTES],
            progress_callback=lambda _offset, _has_error: (
                time.monotonic() >= deadline
            ),  # True stops
        )
    except (ValueError, RuntimeError) as error:
        raise CannotParseError(str(error)) from error
    if tree is None or time.monotonic() >= deadline:
        raise CannotParseError("took too long")
    if tree.root_node.type == "ERROR":
        raise CannotParseError("not a valid file of its language")
    return SyntaxTree(tree.root_node, source, language)


def split(tree: SyntaxTree, part: Part) -> list[Part]:
    """Divide a part's rows among the children of its node.

    Comments and decorators go with what follows them; the rows of the node itself go with the
    child that follows, or after the last child with that one.

    :return: parts that cover the same rows without gap or overlap.
    """
    groups: list[tuple[int, tree_sitter.Node]] = []  # first row, node that names the group
    last_row, leading = -1, False
    owner = find_definition(part.node)
    body = None if owner is None else owner.child_by_field_name("body")
    # The signature stays with the start of the body: neither is much use without the other.
    for child in (body or part.node).named_children:
        first, last = child.start_point.row, _last_row(child)
        if not part.start <= first < part.end:
            continue
        is_leading = child.type in _LEADING
        if groups and (leading or first <= last_row):
            start, named = groups[-1]
            if leading or (find_definition(named) is None and not is_leading):
                groups[-1] = (start, child)
        else:
            groups.append((first, child))
        leading = is_leading and first > last_row
        last_row = max(last_row, last)
    starts = [part.start, *(row for row, _ in groups[1:])]
    ends = [*starts[1:], part.end]
    return [
        _make_part(tree, node, (start, end), owner, part.scope)
        for (_, node), start, end in zip(groups, starts, ends, strict=False)
    ]


def names_within(tree: SyntaxTree, part: Part) -> tuple[str, ...]:
    """List what the children of a part define."""
    names = dict.fromkeys(name for child in split(tree, part) for name in child.symbols)
    return tuple(names)


def _last_row(node: tree_sitter.Node) -> int:
    """Return the last row that holds a character of `node`: some nodes end with a newline."""
    end = node.end_point
    return end.row - 1 if end.column == 0 and end.row > node.start_point.row else end.row


def _make_part(
    tree: SyntaxTree,
    node: tree_sitter.Node,
    rows: tuple[int, int],
    owner: tree_sitter.Node | None,
    scope: str,
) -> Part:
    """Name a part.

    :param owner: the definition that `scope` names already, which `node` may still wrap.
    """
    definition = find_definition(node)
    known = owner is not None and (definition == owner or owner.type == "type_definition")
    name = "" if definition is None or known else name_of(definition, tree.source)
    inner_scope = _qualify(scope, name, tree.language) if name else scope
    found = find_inner_definitions(node, definition, MAX_INNER_NAMES)
    names = [inner for each in found if (inner := name_of(each, tree.source))]
    inner_symbols = dict.fromkeys(_qualify(inner_scope, inner, tree.language) for inner in names)
    outer = (inner_scope,) if name or (scope and not inner_symbols) else ()
    return Part(node, *rows, (*outer, *inner_symbols), definition is not None, inner_scope)


def _qualify(scope: str, name: str, language: str) -> str:
    if len(scope) > MAX_SCOPE_CHARS:
        return scope
    return f"{scope}{_SEPARATORS.get(language, '.')}{name}" if scope else name
