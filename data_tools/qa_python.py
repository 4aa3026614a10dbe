"""What Python modules import, call, raise, derive and assert, read off their syntax trees.

Names are matched, not resolved by running anything: an import tells which module a name comes
from, and a name that nothing ties to a definition is not said to be that definition. Files that
this Python cannot parse give nothing.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from data_tools.sources import SourceFile

MAX_CONDITION_CHARS = 90


@dataclass(frozen=True)
class Place:
    """Where something happens.

    :param symbol: the function or class around it, or "" at the top of a module.
    :param symbol_line: the line that names that, or 0.
    :param first_line: 1-based.
    :param last_line: inclusive.
    """

    path: str
    symbol: str
    symbol_line: int
    first_line: int
    last_line: int


@dataclass(frozen=True)
class Call:
    """A call by name: `name(…)` or `receiver.name(…)`."""

    name: str
    receiver: str
    place: Place


@dataclass(frozen=True)
class Raise:
    """An exception raised in a function's own body.

    :param condition: source of the one `if` that it stands right below, or "".
    """

    name: str
    condition: str
    place: Place


@dataclass(frozen=True)
class Derived:
    """A class and the classes it names as its bases."""

    name: str
    bases: tuple[str, ...]
    place: Place


@dataclass(frozen=True)
class Asserted:
    """What a call with plain arguments gives: `assert function(1, 2) == 3`.

    :param name: the function's, or that of the class it belongs to.
    :param call: as it is written, as is `value`.
    :param value: what it is equal to, or the exception that it raises.
    """

    name: str
    call: str
    value: str
    raises: bool
    place: Place


@dataclass
class PythonModule:
    """What one module says.

    :param imports: name in this module → dotted name of what it stands for.
    """

    path: str
    lines: list[str]
    imports: dict[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    raises: list[Raise] = field(default_factory=list)
    classes: list[Derived] = field(default_factory=list)
    asserts: list[Asserted] = field(default_factory=list)
    tree: ast.Module = field(default_factory=lambda: ast.Module([], []))

    @property
    def dotted(self) -> str:
        """Return the module's own dotted name, by its path."""
        return dotted_name(self.path)

    def segment(self, node: ast.expr) -> str:
        """Return a node's source, its white space as single blanks."""
        last = node.end_lineno or node.lineno
        rows = [line.encode() for line in self.lines[node.lineno - 1 : last]]
        rows[-1] = rows[-1][: node.end_col_offset]
        rows[0] = rows[0][node.col_offset :]
        return " ".join(b"".join(rows).decode("utf-8", "replace").split())


def dotted_name(path: str) -> str:
    """Return the name under which a file is imported, as far as its path tells."""
    stem = re.sub(r"(/__init__)?\.pyi?$", "", path)
    return stem.removeprefix("src/").replace("/", ".")


def read_module(file: SourceFile, lines: list[str]) -> PythonModule | None:
    """Read a Python file; None if it is none of this Python's grammar."""
    if "\r" in file.text or "\f" in file.text:  # Python and git hosts count its lines differently
        return None
    module = PythonModule(file.path, lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes are no concern of ours
            module.tree = ast.parse(file.text)
        _Reader(module).visit(module.tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return module


class _Reader(ast.NodeVisitor):
    """Fills a `PythonModule`, knowing around each node which definitions hold it."""

    def __init__(self, module: PythonModule) -> None:
        self._module = module
        self._scopes: list[tuple[str, int, bool]] = []  # name, line, whether it is a function
        self._conditions: list[ast.If | None] = []
        self._caught = 0  # `try` blocks around, whose errors may not leave the function

    def visit_Import(self, node: ast.Import) -> None:  # noqa: D102 - named by `ast`
        for alias in node.names:
            self._module.imports[alias.asname or alias.name] = alias.name

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:  # noqa: D102
        source = node.module or ""
        if node.level:
            is_package = self._module.path.endswith(("__init__.py", "__init__.pyi"))
            parts = self._module.dotted.split(".")
            kept = parts[: len(parts) - node.level + is_package]
            source = ".".join([*kept, *([source] if source else [])])
        for alias in node.names:
            self._module.imports[alias.asname or alias.name] = f"{source}.{alias.name}"

    def visit_ClassDef(self, node: ast.ClassDef) -> None:  # noqa: D102
        bases = tuple(name for base in node.bases if (name := _dotted(_plain_base(base))))
        last = max([node.lineno, *(base.end_lineno or 0 for base in node.bases)])
        place = Place(self._module.path, self._symbol(), self._line(), node.lineno, last)
        if not any(is_function for _, _, is_function in self._scopes):
            self._module.classes.append(Derived(self._qualify(node.name), bases, place))
        self._enter(node, node.name, is_function=False)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:  # noqa: D102
        self._enter(node, node.name, is_function=True)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:  # noqa: D102
        self._enter(node, node.name, is_function=True)

    def visit_If(self, node: ast.If) -> None:  # noqa: D102
        self.visit(node.test)
        self._visit_block(node.body, node)
        self._visit_block(node.orelse, None)

    def visit_Try(self, node: ast.Try) -> None:  # noqa: D102
        self._caught += bool(node.handlers)
        self._visit_block(node.body, None)
        self._caught -= bool(node.handlers)
        for handler in node.handlers:
            self._visit_block(handler.body, None)
        self._visit_block([*node.orelse, *node.finalbody], None)

    def visit_Call(self, node: ast.Call) -> None:  # noqa: D102
        name = _dotted(node.func)
        if name:
            receiver, _, last = name.rpartition(".")
            self._module.calls.append(Call(last, receiver, self._place(node)))
        elif isinstance(node.func, ast.Attribute):
            self._module.calls.append(Call(node.func.attr, "?", self._place(node)))
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:  # noqa: D102
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        name = _dotted(raised).rpartition(".")[2]
        inside = [is_function for _, _, is_function in self._scopes]
        if name[:1].isupper() and inside[-1:] == [True] and sum(inside) == 1 and not self._caught:
            above = self._conditions[-1]
            first, condition = node.lineno, ""
            if above is not None and len(self._conditions) == 2:  # right in the function's body
                written = self._module.segment(above.test)
                if len(written) <= MAX_CONDITION_CHARS and "`" not in written:
                    first, condition = above.lineno, written
            place = self._place(node)
            place = Place(place.path, place.symbol, place.symbol_line, first, place.last_line)
            self._module.raises.append(Raise(name, condition, place))
        self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:  # noqa: D102
        test = node.test
        if (
            isinstance(test, ast.Compare)
            and len(test.ops) == 1
            and isinstance(test.ops[0], ast.Eq | ast.Is)
            and self._is_plain(test.comparators[0])
        ):
            self._note(test.left, test.comparators[0], node, raises=False)
        self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:  # noqa: D102
        manager = node.items[0].context_expr
        if (
            isinstance(manager, ast.Call)
            and _dotted(manager.func) in ("pytest.raises", "self.assertRaises")
            and len(node.items) == len(node.body) == 1
            and isinstance(node.body[0], ast.Expr | ast.Assign)
            and len(manager.args) == 1
        ):
            self._note(node.body[0].value, manager.args[0], node, raises=True)
        self.generic_visit(node)

    def _note(self, called: ast.expr, value: ast.expr, node: ast.stmt, *, raises: bool) -> None:
        """Note what a call gives, if all of it is plain."""
        if isinstance(called, ast.Call) and self._is_plain_call(called):
            name = _dotted(called.func).partition(".")[0]
            call, written = self._module.segment(called), self._module.segment(value)
            self._module.asserts.append(Asserted(name, call, written, raises, self._place(node)))

    def _is_plain(self, node: ast.expr) -> bool:
        """Tell whether a value stands there whole: literals, and classes that are imported."""
        if isinstance(node, ast.UnaryOp):
            return self._is_plain(node.operand)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return all(map(self._is_plain, node.elts))
        if isinstance(node, ast.Dict):
            return all(key and self._is_plain(key) for key in node.keys) and all(
                map(self._is_plain, node.values)
            )
        if isinstance(node, ast.Name | ast.Attribute):
            root = _dotted(node).partition(".")[0]
            return root[:1].isupper() and root in self._module.imports
        if isinstance(node, ast.Call):
            root = _dotted(node.func).partition(".")[0]
            return root[:1].isupper() and self._is_plain_call(node)
        return isinstance(node, ast.Constant)

    def _is_plain_call(self, node: ast.Call) -> bool:
        root = _dotted(node.func).partition(".")[0]
        is_known = isinstance(node.func, ast.Name) or root[:1].isupper()
        values = [*node.args, *(each.value for each in node.keywords)]
        return is_known and root in self._module.imports and all(map(self._is_plain, values))

    def _visit_block(self, nodes: list[ast.stmt], condition: ast.If | None) -> None:
        self._conditions.append(condition)
        for node in nodes:
            self.visit(node)
        self._conditions.pop()

    def _enter(
        self,
        node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
        name: str,
        *,
        is_function: bool,
    ) -> None:
        body = {id(each) for each in node.body}
        for child in ast.iter_child_nodes(node):  # what is evaluated outside of it
            if id(child) not in body:
                self.visit(child)
        outside = self._caught, self._conditions
        self._caught, self._conditions = 0, []
        self._scopes.append((name, node.lineno, is_function))
        self._visit_block(node.body, None)
        self._scopes.pop()
        self._caught, self._conditions = outside

    def generic_visit(self, node: ast.AST) -> None:
        """Visit what a node holds; what stands in a loop or `with` is below no single `if`."""
        if isinstance(
            node, ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith | ast.Match
        ):
            self._conditions.append(None)
            super().generic_visit(node)
            self._conditions.pop()
        else:
            super().generic_visit(node)

    def _symbol(self) -> str:
        """Name the outermost function around, or the class if there is no function."""
        names = []
        for name, _, is_function in self._scopes:
            names.append(name)
            if is_function:
                break
        return ".".join(names)

    def _line(self) -> int:
        lines = [line for _, line, is_function in self._scopes if is_function]
        return lines[0] if lines else (self._scopes[-1][1] if self._scopes else 0)

    def _qualify(self, name: str) -> str:
        return ".".join([*(scope for scope, _, _ in self._scopes), name])

    def _place(self, node: ast.expr | ast.stmt) -> Place:
        last = node.end_lineno or node.lineno
        return Place(self._module.path, self._symbol(), self._line(), node.lineno, last)


def _plain_base(base: ast.expr) -> ast.expr:
    return base.value if isinstance(base, ast.Subscript) else base  # Generic[T]


def _dotted(node: ast.expr | None) -> str:
    """Return `a.b.c` for a chain of names, else ""."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def comes_from(module: PythonModule, name: str, path: str) -> bool:
    """Tell whether a name in a module stands for what `path` defines under that name.

    It does if the module is that file, or imports it from it or from a package that holds it.
    """
    if module.path == path:
        return name not in module.imports
    source, _, last = module.imports.get(name, "").rpartition(".")
    return bool(source) and last == name and _holds(source, path)


def is_module_of(module: PythonModule, receiver: str, path: str) -> bool:
    """Tell whether `receiver.name` in a module speaks of what `path` defines."""
    source = module.imports.get(receiver, "")
    return bool(source) and _holds(source, path)


def _holds(source: str, path: str) -> bool:
    """Tell whether a dotted name is a file's, or that of a package around it."""
    own = dotted_name(path)
    return own == source or own.startswith(f"{source}.")


def iterate_calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield every call of a module, in the order of their lines."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    yield from sorted(calls, key=lambda node: (node.lineno, node.col_offset))
