"""Documented definitions: the functions and types of a file, with what is written about them.

A docstring is the string that opens a Python body, elsewhere the comment that stands directly
above a definition, in the form that the language's own documentation tool reads. What is defined
inside a function is not listed: it means nothing outside. Files without a grammar, or that do not
parse in time, give nothing.
"""

import inspect
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import tree_sitter

from data_tools.definitions import find_definition, name_of
from data_tools.languages import BY_NAME
from data_tools.sources import SourceFile
from data_tools.syntax import CannotParseError, SyntaxTree, parse

PARSE_TIMEOUT_S = 2.0
MAX_SCOPES = 6  # nested deeper, code is made by tools

_COMMENTS = frozenset("comment line_comment block_comment multiline_comment".split())
_DECORATION = frozenset(
    "attribute_item inner_attribute_item decorator annotation attribute_list".split()
)
# Parts of the names of node types; the first that fits says what a definition is called.
_TYPE_WORDS = "class struct interface trait enum union record object type concept delegate".split()
_NAMESPACE_WORDS = frozenset("mod module namespace package companion".split())
_FUNCTION_WORDS = frozenset("constructor destructor element".split())
# How a comment that documents begins, where the language tells it from other comments.
_DOC_COMMENT = {
    "rust": re.compile(r"///(?!/)|/\*\*"),
    "csharp": re.compile(r"///"),
    **{
        name: re.compile(r"/\*\*(?!\*)")
        for name in ("javascript", "typescript", "tsx", "java", "kotlin", "scala", "php")
    },
}
_PLAIN_COMMENT = re.compile(r"//|/\*|#(?!!)|--")
_COMMENT_MARKS = re.compile(
    r"^\s*(?:///?!?<?|/\*+!?|\*+/|\*(?!\*)|#+|--+)?[ \t]?|(?<!\s)\s*(?<!\*)\*+/\s*$"
)
_XML_TAG = re.compile(r"</?(?:summary|remarks|para|p|br)\b[^<>]*>", re.I)
_SEPARATOR = {"cpp": "::"}  # between the parts of a name; elsewhere a full stop


@dataclass(frozen=True)
class Definition:
    """A function or type of a file.

    :param symbol: qualified name, such as `Trainer.fit`.
    :param noun: what its language calls it: "function", "method", "class", "struct", "trait", …
    :param start_line: 1-based, inclusive; decorators belong to it, a comment above does not.
    :param end_line: 1-based, inclusive.
    :param docstring: what is written about it, without quotes and comment marks, or "".
    :param docstring_lines: its first and last line, 1-based, inclusive; (0, 0) if there is none.
    """

    path: str
    language: str
    symbol: str
    noun: str
    start_line: int
    end_line: int
    docstring: str = ""
    docstring_lines: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """Return the last part of the symbol."""
        return re.split(r"[.:]+", self.symbol)[-1]

    @property
    def is_type(self) -> bool:
        """Tell whether it is a class or the like rather than a function."""
        return self.noun in _TYPE_WORDS


@dataclass(frozen=True)
class _Visit:
    """A node on the way: under which names, and with which comments and decorators above it."""

    node: tree_sitter.Node
    scopes: tuple[str, ...] = ()
    comments: tuple[tree_sitter.Node, ...] = ()
    first_row: int | None = None  # of its decorators
    in_type: bool = False


def find_definitions(
    file: SourceFile, *, parse_timeout_s: float = PARSE_TIMEOUT_S
) -> list[Definition]:
    """List the functions and types of a file in the order of their lines.

    :param parse_timeout_s: a file that takes longer gives none.
    """
    if not BY_NAME[file.language].grammar:
        return []
    deadline = time.monotonic() + parse_timeout_s
    try:
        tree = parse(file.text, file.language, deadline)
    except CannotParseError:
        return []
    found: list[Definition] = []
    stack = [_Visit(tree.root)]
    while stack and time.monotonic() < deadline:
        visit = stack.pop()
        definition = find_definition(visit.node)
        scopes, holder, pending = visit.scopes, visit.node, visit.comments
        if definition is not None:
            noun = _noun_of(definition, in_type=visit.in_type)
            name = name_of(definition, tree.source)
            scopes = (*scopes, name) if name else scopes
            if name and noun not in ("namespace", "impl"):
                found.append(_describe(file, tree, visit, definition, scopes, noun))
            if noun in ("function", "method") or len(scopes) >= MAX_SCOPES:
                continue
            holder, pending = definition, ()
            visit = replace(visit, in_type=noun != "namespace")
        inner = replace(visit, node=holder, scopes=scopes, comments=pending)
        stack.extend(reversed(list(_visit_children(inner))))
    return sorted(found, key=lambda each: (each.start_line, -each.end_line))


def _noun_of(definition: tree_sitter.Node, *, in_type: bool) -> str:
    words = {*definition.type.split("_")}
    if words & _NAMESPACE_WORDS:
        return "namespace"
    if "impl" in words:
        return "impl"
    noun = next((word for word in _TYPE_WORDS if word in words), None)
    if noun and not words & _FUNCTION_WORDS:
        return noun
    return "method" if in_type or "method" in words else "function"


def _visit_children(visit: _Visit) -> Iterator[_Visit]:
    """Yield what a node holds; comments and decorators go with what follows them directly."""
    comments = list(visit.comments)  # above what is no definition, but whose first child may be
    first_row, last_row = None, visit.node.start_point.row - 1
    for child in visit.node.named_children:
        row = child.start_point.row
        if row > last_row + 1:
            comments.clear()
        if child.type in _COMMENTS:
            if row == last_row and not comments:  # it ends a line of code
                continue
            comments.append(child)
        elif child.type in _DECORATION:
            first_row = row if first_row is None else first_row
        else:
            yield _Visit(child, visit.scopes, tuple(comments), first_row, visit.in_type)
            comments.clear()
            first_row = None
        last_row = _last_row(child)


def _last_row(node: tree_sitter.Node) -> int:
    end = node.end_point
    return end.row - 1 if end.column == 0 and end.row > node.start_point.row else end.row


def _describe(
    file: SourceFile,
    tree: SyntaxTree,
    visit: _Visit,
    definition: tree_sitter.Node,
    scopes: tuple[str, ...],
    noun: str,
) -> Definition:
    docstring, rows = (
        _opening_string(definition, tree)
        if file.language == "python"
        else _doc_comment(visit.comments, tree)
    )
    start = visit.node.start_point.row if visit.first_row is None else visit.first_row
    return Definition(
        file.path,
        file.language,
        _SEPARATOR.get(file.language, ".").join(scopes),
        noun,
        start + 1,
        _last_row(visit.node) + 1,
        docstring,
        (rows[0] + 1, rows[1] + 1) if docstring else (0, 0),
    )


def _opening_string(definition: tree_sitter.Node, tree: SyntaxTree) -> tuple[str, tuple[int, int]]:
    body = definition.child_by_field_name("body")
    first = next((n for n in body.named_children if n.type != "comment"), None) if body else None
    while first is not None and first.type == "expression_statement" and first.named_children:
        first = first.named_children[0]
    if first is None or first.type != "string":
        return "", (0, 0)
    parts = [n for n in first.named_children if n.type == "string_content"]
    text = "".join(_text(node, tree) for node in parts)
    return inspect.cleandoc(text), (first.start_point.row, _last_row(first))


def _doc_comment(
    comments: tuple[tree_sitter.Node, ...], tree: SyntaxTree
) -> tuple[str, tuple[int, int]]:
    mark = _DOC_COMMENT.get(tree.language, _PLAIN_COMMENT)
    chosen = [node for node in comments if mark.match(_text(node, tree))]
    if not chosen:
        return "", (0, 0)
    if mark is not _PLAIN_COMMENT and _text(chosen[-1], tree).startswith("/*"):
        chosen = chosen[-1:]  # each block is a docstring of its own
    lines = [line for node in chosen for line in _text(node, tree).rstrip("\n").split("\n")]
    text = "\n".join(_XML_TAG.sub("", _COMMENT_MARKS.sub("", line)).rstrip() for line in lines)
    return inspect.cleandoc(text).strip(), (chosen[0].start_point.row, _last_row(chosen[-1]))


def _text(node: tree_sitter.Node, tree: SyntaxTree) -> str:
    return tree.source[node.start_byte : node.end_byte].decode("utf-8", errors="replace")
