"""Definitions in a syntax tree, and the names they give.

One set of node types serves all grammars, because they name the same things alike; where two
differ, the shape of the node decides, never the language.
"""

import re

import tree_sitter

MAX_NAME_CHARS = 80  # longer ones are made by tools

_DEFINITIONS = frozenset(
    # Python, JavaScript, TypeScript, PHP, shell
    "class_definition function_definition class_declaration abstract_class_declaration "
    "function_declaration generator_function_declaration method_definition method_declaration "
    "interface_declaration type_alias_declaration enum_declaration trait_declaration "
    "internal_module function_signature method_signature abstract_method_signature "
    # Go, Rust
    "type_spec type_alias method_elem struct_item enum_item union_item trait_item impl_item "
    "mod_item function_item function_signature_item macro_definition type_item "
    # Java, C#, Kotlin, Scala
    "constructor_declaration compact_constructor_declaration secondary_constructor "
    "destructor_declaration operator_declaration conversion_operator_declaration "
    "record_declaration annotation_type_declaration annotation_type_element_declaration "
    "struct_declaration delegate_declaration namespace_declaration object_declaration "
    "object_definition trait_definition enum_definition companion_object given_definition "
    "package_object "
    # C, C++
    "type_definition preproc_function_def concept_definition "
    # Ruby
    "module class method singleton_method".split()
)
# These are definitions if the field is there: `struct ops` alone only refers to one.
_DEFINITIONS_WITH = {
    "class_specifier": "body",
    "struct_specifier": "body",
    "enum_specifier": "body",
    "union_specifier": "body",
    "namespace_definition": "body",
    "property_declaration": "name",
}
# These are definitions if their value is a function: type of node → field of the value.
_ASSIGNMENTS = {
    "variable_declarator": "value",
    "field_definition": "value",
    "public_field_definition": "value",
    "pair": "value",
    "var_spec": "value",
    "assignment_expression": "right",
}
_FUNCTION_VALUES = frozenset(
    "arrow_function function_expression generator_function function class func_literal".split()
)
# What stands around a definition: decorators, `export`, a template, a variable's declaration.
_WRAPPERS = frozenset(
    "decorated_definition export_statement template_declaration type_declaration "
    "expression_statement ambient_declaration lexical_declaration variable_declaration "
    "var_declaration declaration".split()
)
# What holds definitions without giving them a scope.
_CONTAINERS = frozenset(
    "preproc_if preproc_ifdef preproc_else preproc_elif linkage_specification declaration_list "
    "if_statement try_statement block else_clause except_clause type_declaration".split()
)
# What gives definitions a scope and is little else: what it holds is named beside it.
_NAMESPACES = frozenset(
    "namespace_definition namespace_declaration module internal_module mod_item".split()
)
_TARGET_PREFIX = re.compile(r"^(?:(?:module\.)?exports|this)\.")
_PLAIN_TARGET = re.compile(r"[\w$.#]+")
_ARGUMENTS = re.compile(r"<[^<>]*>")


def find_definition(node: tree_sitter.Node) -> tree_sitter.Node | None:
    """Find the one definition that `node` is or wraps."""
    while True:
        if _is_definition(node):
            return node
        if node.type not in _WRAPPERS:
            return None
        inner = [child for child in node.named_children if _may_define(child)]
        if not inner or (node.type == "type_declaration" and len(inner) > 1):
            return None  # several types in one declaration are found by `find_inner_definitions`
        node = inner[0]


def find_inner_definitions(
    node: tree_sitter.Node, definition: tree_sitter.Node | None, limit: int
) -> list[tree_sitter.Node]:
    """Find the definitions that a namespace holds, or what is no definition, such as `#ifdef`.

    :param definition: the one that `node` is or wraps.
    :param limit: how many to find.
    """
    if definition is None:
        holder, holds = node, node.type in _CONTAINERS
    else:
        holder = definition.child_by_field_name("body") or definition
        holds = definition.type in _NAMESPACES
    found: list[tree_sitter.Node] = []
    stack = holder.named_children[::-1] if holds else []
    while stack and len(found) < limit:
        node = stack.pop()
        inner = find_definition(node)
        if inner is not None:
            found.append(inner)
        elif node.type in _CONTAINERS:
            stack.extend(reversed(node.named_children))
    return found


def _may_define(node: tree_sitter.Node) -> bool:
    return node.type in _WRAPPERS or _is_definition(node)


def _is_definition(node: tree_sitter.Node) -> bool:
    kind = node.type
    if kind in _DEFINITIONS:
        return True
    if kind in _DEFINITIONS_WITH:
        return node.child_by_field_name(_DEFINITIONS_WITH[kind]) is not None
    if kind not in _ASSIGNMENTS:
        return False
    value = node.child_by_field_name(_ASSIGNMENTS[kind])
    if value is not None and value.type == "expression_list":
        value = _first_child(value)
    return value is not None and value.type in _FUNCTION_VALUES


def name_of(definition: tree_sitter.Node, source: bytes) -> str:
    """Return the name that a definition gives to something, or "" if it gives none.

    :param source: the file that was parsed: `Node.text` would copy it each time.
    """
    kind = definition.type
    field = definition.child_by_field_name
    name = field("name") or field("property") or field("key")
    if kind == "assignment_expression":
        target = _TARGET_PREFIX.sub("", _text(field("left"), source)).replace(".prototype.", ".")
        return target if _PLAIN_TARGET.fullmatch(target) else ""
    if kind in ("impl_item", "type_alias") and name is None:
        return _base_name(field("type"), source)
    if kind == "secondary_constructor":
        return "constructor"
    if kind in ("operator_declaration", "conversion_operator_declaration"):
        return "operator " + _text(field("operator") or field("type"), source)
    if name is None:
        return _declared_name(field("declarator"), source)
    receiver = _receiver(definition, name, source)
    prefix = f"{receiver}." if receiver else "~" * (kind == "destructor_declaration")
    return prefix + _clean(_text(name, source))


def _declared_name(declarator: tree_sitter.Node | None, source: bytes) -> str:
    """Name what a C declarator declares: the innermost one, past pointers and parameters."""
    while declarator is not None:
        inner = declarator.child_by_field_name("declarator")
        if inner is None and declarator.type.endswith("_declarator"):
            inner = next((n for n in declarator.named_children if n.type != "type_qualifier"), None)
        if inner is None:
            break
        declarator = inner
    return _clean(_text(declarator, source))


def _receiver(definition: tree_sitter.Node, name: tree_sitter.Node, source: bytes) -> str:
    """Name the type that a method is declared for outside it, as in Go and Kotlin."""
    if definition.type == "method_declaration":
        parameters = definition.child_by_field_name("receiver")
        parameter = None if parameters is None else _first_child(parameters)
        if parameter is not None:
            return _base_name(parameter.child_by_field_name("type"), source)
    if definition.type == "function_declaration":
        before = name.prev_named_sibling
        if before is not None and before.type in ("user_type", "nullable_type"):
            return _base_name(before, source)
    return ""


def _base_name(type_node: tree_sitter.Node | None, source: bytes) -> str:
    """Name a type without its arguments, pointers and lifetimes."""
    while type_node is not None:
        inner = type_node.child_by_field_name("type") or type_node.child_by_field_name("name")
        if inner is None and type_node.type in ("pointer_type", "parenthesized_type"):
            inner = _first_child(type_node)
        if inner is None:
            break
        type_node = inner
    return _clean(_text(type_node, source)).rstrip("?")


def _first_child(node: tree_sitter.Node) -> tree_sitter.Node | None:
    return next(iter(node.named_children), None)  # `named_child(0)` raises where there is none


def _clean(name: str) -> str:
    """Leave out template arguments, parameters, quotes and line breaks."""
    before, operator, sign = name.partition("operator")
    if operator and not sign[:1].isidentifier():
        sign = "()" if sign.startswith("()") else sign.split("(")[0].rstrip()
        return _strip_arguments(before) + operator + sign
    return " ".join(_strip_arguments(name).split("(")[0].split()).strip("\"' *&")[:MAX_NAME_CHARS]


def _strip_arguments(name: str) -> str:
    while (shorter := _ARGUMENTS.sub("", name)) != name:
        name = shorter
    return name.split("<")[0]


def _text(node: tree_sitter.Node | None, source: bytes) -> str:
    if node is None:
        return ""
    end = min(node.end_byte, node.start_byte + 4 * MAX_NAME_CHARS)
    return source[node.start_byte : end].decode("utf-8", errors="ignore")
