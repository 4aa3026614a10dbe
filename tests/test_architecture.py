"""The rules of CONTRIBUTING.md that a program can check, read off the code's syntax trees."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "training", "retrieval", "data_tools")  # each may import those to its right
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_LINES = 400
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve"}
FORBIDDEN_CALLS = {
    *("torch.load", "eval", "exec", "os.system", "yaml.load", "numpy.load", "np.load"),
    *("torch.hub.load", "pandas.read_pickle", "pd.read_pickle", "marshal.loads", "runpy.run_path"),
    *("faiss.deserialize_index", "mlflow.pyfunc.load_model", "AutoPeftModel.from_pretrained"),
}
FAISS_READER = "retrieval/dense.py"  # opened only after `retrieval.generations` checked its hash
FORBIDDEN_OPTIONS = {
    "trust_remote_code",
    "allow_dangerous_deserialization",
    "allow_pickle",
    "shell",
}
# Where one of these is said at all, it is said so: a folder's own settings may say otherwise.
INSISTED_ON = {"use_safetensors", "weights_only"}
HEAVY_MODULES = {
    "torch",
    "mlflow",
    "transformers",
    "sentence_transformers",
    "gradio",
    "langchain",
    "langchain_core",
    "langchain_openai",
    "openai",
    "faiss",
    "peft",
    "accelerate",
    "pandas",
}

every_module = pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))


def parse(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(tree: ast.AST) -> Iterator[str]:
    """The modules that any part of a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name"
            yield node.module or ""


def imported_at_once(tree: ast.Module) -> Iterator[str]:
    """The modules that are imported as soon as this one is: not in functions, not for types."""
    stack: list[ast.AST] = [*tree.body]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += node.orelse
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imported(node)
        stack += ast.iter_child_nodes(node)


def package_of(path: Path) -> str:
    """The package that a module belongs to."""
    return path.relative_to(ROOT).parts[0]


def public_definitions(
    tree: ast.Module,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions, classes and methods whose names begin with no underscore."""
    stack: list[ast.AST] = [*tree.body]
    while stack:
        node = stack.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            stack += node.body


def test_there_are_modules_of_every_package() -> None:
    assert {package_of(path) for path in MODULES} == set(PACKAGES)


@every_module
def test_imports_point_one_way(path: Path) -> None:
    package = package_of(path)
    allowed = PACKAGES[PACKAGES.index(package) :]
    ours = {name.partition(".")[0] for name in imported(parse(path))} & {*PACKAGES, "tests"}
    assert ours <= set(allowed)


@every_module
def test_the_app_imports_training_only_inside_functions(path: Path) -> None:
    if package_of(path) == "app":
        names = {name.partition(".")[0] for name in imported_at_once(parse(path))}
        assert "training" not in names


@every_module
def test_no_module_s_private_names_are_imported_elsewhere(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGES):
            private = [alias.name for alias in node.names if alias.name.startswith("_")]
            assert not private, f"line {node.lineno}"


@every_module
def test_nothing_is_unpickled_and_no_foreign_code_is_run(path: Path) -> None:
    tree = parse(path)
    assert not {name.partition(".")[0] for name in imported(tree)} & FORBIDDEN_MODULES
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        assert ast.unparse(node.func) not in FORBIDDEN_CALLS, f"line {node.lineno}"
        for option in node.keywords:
            if option.arg in FORBIDDEN_OPTIONS:
                assert isinstance(option.value, ast.Constant), f"line {node.lineno}"
                assert option.value.value is False, f"line {node.lineno}"


@every_module
def test_models_are_loaded_from_safetensors_and_without_their_own_code(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if not isinstance(node, ast.Call):
            continue
        called, options = ast.unparse(node.func), {each.arg for each in node.keywords}
        for option in node.keywords:
            if option.arg in INSISTED_ON:
                assert ast.unparse(option.value) == "True", f"line {node.lineno}"
        if called == "SentenceTransformer":
            assert "trust_remote_code" in options, f"line {node.lineno}"
            assert "**SAFE_LOADING" in ast.unparse(node), f"line {node.lineno}"
        if re.fullmatch(r"Auto\w+\.from_pretrained", called):
            assert "trust_remote_code" in options, f"line {node.lineno}"
        if re.fullmatch(r"AutoModel\w*\.from_pretrained", called):
            assert "use_safetensors" in options, f"line {node.lineno}"
        if called == "faiss.read_index":
            assert path == ROOT / FAISS_READER, f"line {node.lineno}"


@every_module
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(parse(path))


@every_module
def test_a_long_file_says_in_its_header_why(path: Path) -> None:
    if len(path.read_text("utf-8").splitlines()) > MAX_LINES:
        header = ast.get_docstring(parse(path)) or ""
        assert re.search(r"\b(long|lines|one file|together)\b", header)


@every_module
def test_everything_public_has_a_docstring(path: Path) -> None:
    bare = [node.name for node in public_definitions(parse(path)) if not ast.get_docstring(node)]
    assert not bare


@every_module
def test_no_except_catches_everything_unnamed(path: Path) -> None:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}"


@pytest.mark.parametrize("name", ["app/cli.py", "app/__init__.py", "retrieval/__init__.py"])
def test_the_command_line_s_help_loads_nothing_heavy(name: str) -> None:
    loaded: set[str] = set()
    stack = [ROOT / name]
    while stack:
        path = stack.pop()
        for module in imported_at_once(parse(path)):
            if module in loaded:
                continue
            loaded.add(module)
            if module.partition(".")[0] in PACKAGES:
                file = ROOT / Path(*module.split("."))
                found = (file.with_suffix(".py"), file / "__init__.py")
                stack += [path for path in found if path.is_file()]
    assert not {module.partition(".")[0] for module in loaded} & HEAVY_MODULES
