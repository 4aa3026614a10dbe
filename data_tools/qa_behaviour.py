"""What is expected of code, as its tests say: their names, and the values that they assert."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from data_tools.docstrings import Definition
from data_tools.pairs import is_test
from data_tools.qa_codebase import Codebase, Evidence, QAPair, code, is_test_path, join_names
from data_tools.qa_python import Place, PythonModule, comes_from
from data_tools.tested import find_tested, split_name

MAX_TESTS = 5  # named in one answer; a definition with more is told by its docstring
MAX_CODE_CHARS = 80  # of a call, and of its value
MIN_CODE_CHARS = 4  # of a call's arguments: `f()` is called with a state that it does not show

# Words of which a test's name needs one to be a statement.
_FINITE = frozenset(
    "is are has can cannot does must should was were fails stays goes throws "
    "raises returns refuses gives keeps ignores accepts becomes contains creates finds needs makes "
    "rejects skips takes writes reads holds removes saves leaves shows gets puts says".split()
)


def mine_behaviour(codebase: Codebase, modules: Mapping[str, PythonModule]) -> Iterator[QAPair]:
    """Ask what the tests check, and what calls with plain values give."""
    yield from _mine_names(codebase)
    yield from _mine_asserts(codebase, modules)


def _mine_names(codebase: Codebase) -> Iterator[QAPair]:
    outside = codebase.outside_tests
    candidates = {each.name: each for each in outside if codebase.names[each.name] == 1}
    found: dict[Definition, list[tuple[str, str, str, int]]] = defaultdict(list)
    for file in codebase.files:
        tests = [each for each in codebase.definitions.get(file.path, ()) if is_test(each)]
        by_line = {codebase.name_line(test): test.name for test in tests}
        for test in find_tested(file, tests, candidates):
            name = by_line.get(test.first_line)
            if name and _says_something(test.query, test.tested.name):
                found[test.tested].append((test.query, name, file.path, test.first_line))
    for tested, checks in found.items():
        title = codebase.title(tested)
        names = {name for _, name, _, _ in checks}
        if title is None or len(names) < len(checks) or len(names) > MAX_TESTS:
            continue
        evidence: list[Evidence] = []
        for _, _, path, line in checks:
            evidence += codebase.evidence(path, (line, line))
        told = join_names([f"{words} (`{name}`)" for words, name, _, _ in checks])
        paths = join_names(list(dict.fromkeys(f"`{path}`" for _, _, path, _ in checks)))
        yield QAPair(
            "test",
            f"What do the tests check of {title}?",
            f"{told[0].upper()}{told[1:]}, in {paths}.",
            tuple(evidence),
        )


def _says_something(words: str, tested: str) -> bool:
    """Tell whether a test's name is a statement about what it tests, which it names whole."""
    said = words.split()
    is_whole = {word.rstrip("s") for word in split_name(tested)} <= {w.rstrip("s") for w in said}
    return is_whole and any(word in _FINITE for word in said[1:])


def _around(place: Place) -> tuple[int, int]:
    """Return the lines from the name of a test down to what it asserts."""
    return (place.symbol_line or place.first_line, place.last_line)


def _mine_asserts(codebase: Codebase, modules: Mapping[str, PythonModule]) -> Iterator[QAPair]:
    known = {
        each.name: each
        for each in codebase.outside_tests
        if codebase.names[each.name] == 1 and each.symbol == each.name
    }
    pairs: dict[str, dict[str, QAPair]] = defaultdict(dict)
    for module in modules.values():
        for each in module.asserts if is_test_path(module.path) else ():
            definition = known.get(each.name)
            if (
                definition is None
                or not comes_from(module, each.name, definition.path)
                or max(len(each.call), len(each.value)) > MAX_CODE_CHARS
                or len(each.call.partition("(")[2]) <= MIN_CODE_CHARS
                or "patch" in codebase.text(module.path, *_around(each.place))
            ):
                continue
            lines = (each.place.first_line, each.place.last_line)
            told = f"raises {code(each.value)}" if each.raises else f"gives {code(each.value)}"
            pairs[each.call][each.value] = QAPair(
                "test",
                f"What does {code(each.call)} give?",
                f"It {told}, as a test in `{module.path}` says.",
                codebase.evidence(module.path, lines),
            )
    for found in pairs.values():
        if len(found) == 1:
            yield from found.values()
