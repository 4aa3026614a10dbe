"""Signatures as questions and answers: parameters, defaults, and what is returned.

Syntax trees name the parts of a signature much alike, so one reader serves Python, JavaScript,
TypeScript, Go, Rust and Java. What it cannot take apart (patterns, overloads) gives no pair. Types
and defaults are copied as they are written.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tree_sitter

from data_tools.definitions import find_definition, name_of
from data_tools.docstrings import PARSE_TIMEOUT_S, Definition
from data_tools.pairs import is_test
from data_tools.qa_codebase import Codebase, QAPair, code, join_names, owner_of
from data_tools.sources import SourceFile
from data_tools.syntax import CannotParseError, SyntaxTree, parse

LANGUAGES = frozenset("python javascript typescript tsx go rust java".split())
MAX_PARAMETERS = 8  # that an answer lists
MAX_CODE_CHARS = 80  # of a type or default; longer ones are no answer but a program

_NUMBERS = "no one two three four five six seven eight".split()
_RECEIVERS = frozenset("self cls this".split())
_MARKERS = frozenset("keyword_separator positional_separator comment line_comment".split())
_WHOLE_PARAMETERS = frozenset(
    "identifier self_parameter list_splat_pattern dictionary_splat_pattern".split()
)
_NAME = re.compile(r"(?:\*{0,2}|\.\.\.|&?(?:mut )?)[A-Za-z_$][\w$]*")


@dataclass(frozen=True)
class Parameter:
    """One parameter, each part as it is written.

    :param type: "" if none is written; likewise `default`.
    """

    name: str
    type: str = ""
    default: str = ""

    def describe(self) -> str:
        """Write it as a list has it: "`k` (`int`, default `60`)"."""
        details = [code(self.type)] if self.type else []
        details += [f"default {code(self.default)}"] if self.default else []
        return f"{code(self.name)} ({', '.join(details)})" if details else code(self.name)


@dataclass(frozen=True)
class Signature:
    """What a function takes and returns.

    :param returns: the type as it is written, or "".
    :param last_line: of the signature, 1-based.
    """

    parameters: tuple[Parameter, ...]
    returns: str
    last_line: int


def mine_signatures(codebase: Codebase) -> Iterator[QAPair]:
    """Ask what each documented or typed function takes, returns and presumes."""
    for file in codebase.files:
        if file.language not in LANGUAGES:
            continue
        definitions = [
            each
            for each in codebase.definitions.get(file.path, ())
            if not each.is_type and not is_test(each)
        ]
        for definition, signature in read_signatures(file, definitions):
            yield from _ask(codebase, definition, signature)


def read_signatures(
    file: SourceFile, definitions: Sequence[Definition]
) -> list[tuple[Definition, Signature]]:
    """Read the signatures of functions of one file, where each part of them is plain."""
    deadline = time.monotonic() + PARSE_TIMEOUT_S
    try:
        tree = parse(file.text, file.language, deadline)
    except CannotParseError:
        return []
    found = []
    stack = [tree.root]
    by_name: dict[str, list[Definition]] = {}
    for each in definitions:
        by_name.setdefault(each.name, []).append(each)
    while stack and time.monotonic() < deadline:
        node = stack.pop()
        stack.extend(reversed(node.named_children))
        if find_definition(node) != node:
            continue
        row = node.start_point.row + 1
        named = by_name.get(name_of(node, tree.source), ())
        holders = [each for each in named if each.start_line <= row <= each.end_line]
        signature = _read(node, tree) if holders else None
        if signature:
            found.append((max(holders, key=lambda each: each.start_line), signature))
    return found


def _read(node: tree_sitter.Node, tree: SyntaxTree) -> Signature | None:
    value = node.child_by_field_name("value") or node
    listing = value.child_by_field_name("parameters")
    if listing is None or listing.has_error:
        return None
    parameters: list[Parameter] = []
    for child in listing.named_children:
        if child.type in _MARKERS:
            continue
        read = list(_read_parameter(child, tree))
        if not read:
            return None
        parameters += read
    if parameters and parameters[0].name.lstrip("&").removeprefix("mut ") in _RECEIVERS:
        del parameters[0]
    returns = _first_field(value, tree, ("return_type", "result", "type"))
    body = value.child_by_field_name("body")
    last = listing.end_point.row if body is None else body.start_point.row
    if tree.language == "python" and body is not None:
        last = max(listing.end_point.row, _row_of_colon(value, body))
    return Signature(tuple(parameters), returns.removeprefix(":").strip(), last + 1)


def _row_of_colon(value: tree_sitter.Node, body: tree_sitter.Node) -> int:
    colons = [child for child in value.children if child.type == ":"]
    return colons[-1].start_point.row if colons else body.start_point.row


def _first_field(node: tree_sitter.Node, tree: SyntaxTree, names: Sequence[str]) -> str:
    fields = (node.child_by_field_name(name) for name in names)
    return next((_text(field, tree) for field in fields if field is not None), "")


def _read_parameter(node: tree_sitter.Node, tree: SyntaxTree) -> Iterator[Parameter]:
    """Read what a node declares: several parameters in Go (`a, b int`), one elsewhere."""
    if node.type in _WHOLE_PARAMETERS:
        names = [_text(node, tree)]
    elif tree.language == "go":
        dots = "..." if node.type == "variadic_parameter_declaration" else ""
        names = [dots + _text(name, tree) for name in node.children_by_field_name("name")]
    else:
        fields = ("name", "pattern", "left")
        named = next((n for f in fields if (n := node.child_by_field_name(f))), None)
        if named is None and node.type == "typed_parameter":  # Python names it by no field
            named = next(iter(node.named_children), None)
        names = [] if named is None else [_text(named, tree)]
    type_text = _first_field(node, tree, ("type",)).removeprefix(":").strip()
    default = _first_field(node, tree, ("value", "right", "default_value"))
    for name in names:
        if _NAME.fullmatch(name):
            yield Parameter(name, type_text, default)


def _text(node: tree_sitter.Node, tree: SyntaxTree) -> str:
    text = tree.source[node.start_byte : node.end_byte].decode("utf-8", errors="replace")
    return " ".join(text.split())


def _ask(codebase: Codebase, definition: Definition, signature: Signature) -> Iterator[QAPair]:
    title = codebase.title(definition)
    if title is None:
        return
    owner = owner_of(title)
    lines = codebase.evidence(
        definition.path, (codebase.name_line(definition), signature.last_line)
    )
    simple = all(
        max(len(each.type), len(each.default)) <= MAX_CODE_CHARS for each in signature.parameters
    )
    known = {each.name.lstrip("*."): each for each in signature.parameters}
    if simple and 0 < len(known) <= MAX_PARAMETERS:
        listed = join_names([each.describe() for each in signature.parameters])
        asked = f"the constructor of {owner}" if owner != title else owner
        plural = "parameter" if len(known) == 1 else "parameters"
        yield QAPair(
            "signature",
            f"Which parameters does {asked} take?",
            f"It takes {_NUMBERS[len(known)]} {plural}: {listed}.",
            lines,
        )
    defaults = [
        each
        for each in signature.parameters
        if each.default and len(each.default) <= MAX_CODE_CHARS
    ]
    if defaults:
        chosen = defaults[_number(title) % len(defaults)]
        yield QAPair(
            "signature",
            f"What is the default of `{chosen.name}` in {owner}?",
            f"`{chosen.name}` defaults to {code(chosen.default)}.",
            lines,
        )
    if 0 < len(signature.returns) <= MAX_CODE_CHARS and owner == title:
        nothing = signature.returns in ("None", "void", "()")
        yield QAPair(
            "signature",
            f"What type does {title} return?",
            f"{code(signature.returns)}: it returns nothing."
            if nothing
            else f"It returns {code(signature.returns)}.",
            lines,
        )


def _number(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8])
