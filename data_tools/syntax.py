"""Syntax trees through tree-sitter: which lines of a file belong together, and their names.

One set of node types serves all grammars, because they name the same things alike. Offsets
of tree-sitter are bytes; only rows are used here, so they agree with lines of text.
"""

import importlib
import time
from dataclasses import dataclass
from functools import cache

import tree_sitter

from data_tools.languages import BY_NAME

READ_BYTES = 65_536  # handed to the parser at a time; it checks the clock in between
MAX_NAME_CHARS = 80

_DEFINITIONS = frozenset(
    # Python, JavaScript, TypeScript, PHP, shell
    "class_definition function_definition class_declaration abstract_class_declaration "
    "function_declaration generator_function_declaration method_definition method_declaration "
    "interface_declaration type_alias_declaration enum_declaration trait_declaration "
    "internal_module "
    # Go, Rust
    "type_spec type_alias method_elem struct_item enum_item union_item trait_item impl_item "
    "mod_item function_item function_signature_item macro_definition type_item "
    # Java, C#, Kotlin, Scala
    "constructor_declaration record_declaration annotation_type_declaration struct_declaration "
    "delegate_declaration property_declaration namespace_declaration object_declaration "
    "object_definition trait_definition enum_definition companion_object "
    # C, C++
    "class_specifier struct_specifier enum_specifier union_specifier type_definition "
    "namespace_definition preproc_function_def concept_definition "
    # Ruby
    "module class method singleton_method".split()
)
# What stands before a definition and belongs to it.
_LEADING = frozenset(
    "comment line_comment block_comment multiline_comment attribute_item inner_attribute_item "
    "decorator annotation marker_annotation modifiers attribute_list".split()
)
_FUNCTION_VALUES = frozenset("arrow_function function_expression function class".split())


class CannotParseError(Exception):
    """There is no usable syntax tree; the caller cuts the file at blank lines instead."""


@dataclass(frozen=True)
class Part:
    """A node and the rows it is responsible for: those of its leading comments included.

    :param start: 0-based row.
    :param end: 0-based row, exclusive.
    :param symbols: qualified names that it defines.
    """

    node: tree_sitter.Node
    start: int
    end: int
    symbols: tuple[str, ...]
    is_definition: bool


@cache
def _load_grammar(language: str) -> tree_sitter.Language:
    grammar = BY_NAME[language].grammar
    if grammar is None:
        raise CannotParseError(f"no grammar for {language}")
    module, _, function = grammar.partition(":")
    return tree_sitter.Language(getattr(importlib.import_module(module), function)())


def parse(text: str, language: str, deadline: float) -> tree_sitter.Node:
    """Parse `text` and return the root of its syntax tree.

    :param deadline: `time.monotonic()` at which to give up.
    :raises CannotParseError: no tree came of it in time.
    """
    data = text.encode("utf-8", errors="replace")
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
    if tree is None or tree.root_node.type == "ERROR":
        raise CannotParseError("not a valid file of its language")
    return tree.root_node


def split(part: Part, scope: str) -> list[Part]:
    """Divide a part's rows among the children of its node.

    Comments and decorators go with what follows them; the rows of the node itself go with the
    child that follows, or after the last child with that one.

    :param scope: qualified name of the enclosing definition, or "".
    :return: parts that cover the same rows without gap or overlap.
    """
    groups: list[tuple[int, tree_sitter.Node]] = []  # first row, node that names the group
    last_row, leading = -1, False
    definition = _find_definition(part.node)
    body = None if definition is None else definition.child_by_field_name("body")
    # The signature stays with the start of the body: neither is much use without the other.
    for child in (body or part.node).named_children:
        first, last = child.start_point.row, _last_row(child)
        if not part.start <= first < part.end:
            continue
        is_leading = child.type in _LEADING
        if groups and (leading or first <= last_row):
            start, named = groups[-1]
            if leading or (_find_definition(named) is None and not is_leading):
                groups[-1] = (start, child)
        else:
            groups.append((first, child))
        leading = is_leading and first > last_row
        last_row = max(last_row, last)
    starts = [part.start, *(row for row, _ in groups[1:])]
    ends = [*starts[1:], part.end]
    return [
        Part(node, start, end, *_describe(node, scope))
        for (_, node), start, end in zip(groups, starts, ends, strict=False)
    ]


def _last_row(node: tree_sitter.Node) -> int:
    """Return the last row that holds a character of `node`: some nodes end with a newline."""
    end = node.end_point
    return end.row - 1 if end.column == 0 and end.row > node.start_point.row else end.row


def _describe(node: tree_sitter.Node, scope: str) -> tuple[tuple[str, ...], bool]:
    definition = _find_definition(node)
    name = None if definition is None else _name(definition)
    if not name:
        return ((scope,) if scope else ()), definition is not None
    return (f"{scope}.{name}" if scope else name,), True


def _find_definition(node: tree_sitter.Node) -> tree_sitter.Node | None:
    """Find the definition that `node` is or wraps (a decorator, `export`, a template)."""
    if node.type in _DEFINITIONS:
        return node
    if node.type in (
        "decorated_definition",
        "export_statement",
        "template_declaration",
        "type_declaration",
        "expression_statement",
        "ambient_declaration",
    ):
        return next(filter(None, map(_find_definition, node.named_children)), None)
    if node.type in ("lexical_declaration", "variable_declaration"):
        for declarator in node.named_children:
            value = declarator.child_by_field_name("value")
            if value is not None and value.type in _FUNCTION_VALUES:
                return declarator
    return None


def _name(node: tree_sitter.Node) -> str:
    """Return the name that a definition gives to something, or "" if it gives none."""
    for field in ("name", "type", "declarator"):
        found = node.child_by_field_name(field)
        while found is not None:
            inner = found.child_by_field_name("declarator") or found.child_by_field_name("name")
            if inner is None:
                text = (found.text or b"").decode("utf-8", errors="replace")
                return text.split("(")[0].split("<")[0].strip(" *&")[:MAX_NAME_CHARS]
            found = inner
    return ""
