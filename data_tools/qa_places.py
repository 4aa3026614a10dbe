"""Where things are defined, derived from, called and raised.

An answer lists every place outside the tests, or there is no pair: what more places than
`MAX_NAMED` share is left out. Definitions are those of all languages; calls, bases and exceptions
are Python's, where imports tell what a name stands for.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from data_tools.docstrings import Definition
from data_tools.qa_codebase import (
    MAX_NAMED,
    Codebase,
    Evidence,
    QAPair,
    in_files,
    is_test_path,
    join_names,
)
from data_tools.qa_python import Call, Place, PythonModule, comes_from, is_module_of

MIN_NAME_CHARS = 3

_PLAIN = re.compile(r"[A-Za-z_]\w+")
_ERROR = re.compile(r"(?:Error|Exception|Warning|Interrupt|Exit)$")
_DUNDER = re.compile(r"__\w+__$")

Modules = Mapping[str, PythonModule]


def mine_definitions(codebase: Codebase) -> Iterator[QAPair]:
    """Ask where each name is defined."""
    by_name: dict[str, list[Definition]] = defaultdict(list)
    for each in codebase.outside_tests:
        by_name[each.name].append(each)
    for name, found in by_name.items():
        if _is_plain(name) and len({each.path for each in found}) == len(found) <= MAX_NAMED:
            evidence = _points(codebase, [(e.path, codebase.name_line(e)) for e in found])
            yield QAPair(
                "definition", f"Where is `{name}` defined?", _locate(name, found), evidence
            )


def _is_plain(name: str) -> bool:
    is_word = _PLAIN.fullmatch(name) and len(name) >= MIN_NAME_CHARS
    return bool(is_word) and not _DUNDER.match(name)


def _locate(name: str, found: Sequence[Definition]) -> str:
    if len(found) == 1:
        return f"The {found[0].noun} `{name}` is defined in `{found[0].path}`."
    nouns = {each.noun for each in found}
    if len(nouns) == 1:
        places = join_names([f"`{each.path}`" for each in found])
        plural = {"class": "classes"}.get(found[0].noun, f"{found[0].noun}s")
        return f"There are {len(found)} {plural} of that name: in {places}."
    places = join_names([f"a {each.noun} in `{each.path}`" for each in found])
    return f"In {len(found)} places: {places}."


def _points(codebase: Codebase, points: Sequence[tuple[str, int]]) -> tuple[Evidence, ...]:
    """Make single lines evidence, file by file."""
    by_path: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for path, line in points:
        by_path[path].append((line, line))
    return tuple(e for path, spans in by_path.items() for e in codebase.evidence(path, *spans))


def mine_subclasses(codebase: Codebase, modules: Modules) -> Iterator[QAPair]:
    """Ask which classes derive from each, and what each derives from."""
    known = _unique(codebase, of_types=True)
    derived: dict[str, list[tuple[str, Place]]] = defaultdict(list)
    for module in modules.values():
        for each in module.classes:
            bases = [base.rpartition(".")[2] for base in each.bases]
            for base, written in zip(bases, each.bases, strict=True):
                if base in known and _means(module, written, known[base].path):
                    derived[base].append((each.name, each.place))
            title = _title_of(codebase, module.path, each.name)
            if title and bases and not is_test_path(module.path) and set(bases) != {"object"}:
                named = join_names([f"`{base}`" for base in each.bases])
                yield QAPair(
                    "subclass",
                    f"Which {'class' if len(bases) == 1 else 'classes'} does {title} inherit from?",
                    f"It inherits from {named}.",
                    codebase.evidence(module.path, (each.place.first_line, each.place.last_line)),
                )
    for base, found in derived.items():
        outside = [(name, place) for name, place in found if not is_test_path(place.path)]
        if 0 < len(outside) <= MAX_NAMED:
            places = [(f"`{name.rpartition('.')[2]}`", place.path) for name, place in outside]
            named = join_names(list(in_files(places)))
            besides = " Test classes do, too." if len(outside) < len(found) else ""
            yield QAPair(
                "subclass",
                f"Which classes inherit directly from `{base}`?",
                f"{named}.{besides}",
                _evidence(codebase, [place for _, place in outside]),
            )


def _unique(codebase: Codebase, *, of_types: bool) -> dict[str, Definition]:
    """List Python's classes, or functions of modules, whose name nothing else has."""
    return {
        each.name: each
        for each in codebase.outside_tests
        if each.language == "python"
        and each.is_type == of_types
        and each.symbol == each.name
        and codebase.names[each.name] == 1
        and _is_plain(each.name)
    }


def _means(module: PythonModule, written: str, path: str) -> bool:
    """Tell whether a name as it is written in a module stands for what `path` defines."""
    receiver, _, name = written.rpartition(".")
    if receiver:
        return is_module_of(module, receiver, path)
    return comes_from(module, name, path)


def _title_of(codebase: Codebase, path: str, symbol: str) -> str | None:
    found = (each for each in codebase.definitions.get(path, ()) if each.symbol == symbol)
    definition = next(found, None)
    return None if definition is None else codebase.title(definition)


def _evidence(codebase: Codebase, places: Sequence[Place]) -> tuple[Evidence, ...]:
    """Point to what happens at each place, and to the line that names what is around it."""
    by_path: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for place in places:
        by_path[place.path].append((place.first_line, place.last_line))
        if place.symbol_line:
            by_path[place.path].append((place.symbol_line, place.symbol_line))
    return tuple(e for path, spans in by_path.items() for e in codebase.evidence(path, *spans))


def mine_calls(codebase: Codebase, modules: Modules) -> Iterator[QAPair]:
    """Ask what calls each function, and what makes objects of each class."""
    outside = {path: each for path, each in modules.items() if not is_test_path(path)}
    functions, types = (_unique(codebase, of_types=of_types) for of_types in (False, True))
    known = functions | types
    found: dict[str, list[Place]] = defaultdict(list)
    by_method: dict[str, list[tuple[str, Call]]] = defaultdict(list)
    for module in outside.values():
        for call in module.calls:
            by_method[call.name].append((module.path, call))
            definition = known.get(call.name)
            written = ".".join(filter(None, (call.receiver, call.name)))
            if definition and _means(module, written, definition.path):
                found[call.name].append(call.place)
    for name, places in found.items():
        question = (
            f"Where are objects of the class `{name}` made?"
            if name in types
            else f"What calls the function `{name}`?"
        )
        yield from _ask_places(codebase, "call", question, places, own=name)
    yield from _mine_own_calls(codebase, by_method)


def _mine_own_calls(
    codebase: Codebase, calls: Mapping[str, Sequence[tuple[str, Call]]]
) -> Iterator[QAPair]:
    """Ask what calls a method that is called on `self` alone, within its class."""
    for each in codebase.outside_tests:
        owner, _, name = each.symbol.rpartition(".")
        is_plain = each.language == "python" and owner and _is_plain(name)
        if not is_plain or codebase.names[name] != 1 or not calls.get(name):
            continue
        if all(
            path == each.path
            and call.receiver == "self"
            and call.place.symbol.rpartition(".")[0] == owner
            for path, call in calls[name]
        ):
            places = [call.place for _, call in calls[name]]
            yield from _ask_places(
                codebase, "call", f"Which methods call `{each.symbol}`?", places, own=name
            )


def mine_raises(codebase: Codebase, modules: Modules) -> Iterator[QAPair]:
    """Ask what each function raises, when, and where each exception is raised."""
    known = {
        name: each for name, each in _unique(codebase, of_types=True).items() if _ERROR.search(name)
    }
    raised: dict[str, list[Place]] = defaultdict(list)
    for module in modules.values():
        if is_test_path(module.path):
            continue
        by_function: dict[str, list[tuple[str, str, Place]]] = defaultdict(list)
        for each in module.raises:
            if each.name in known:
                raised[each.name].append(each.place)
            if each.name not in ("NotImplementedError", "StopIteration"):
                by_function[each.place.symbol].append((each.name, each.condition, each.place))
        for symbol, found in by_function.items():
            yield from _ask_function(codebase, module.path, symbol, found)
    for name, places in raised.items():
        yield from _ask_places(codebase, "raise", f"Where is `{name}` raised?", places)


def _ask_function(
    codebase: Codebase, path: str, symbol: str, found: Sequence[tuple[str, str, Place]]
) -> Iterator[QAPair]:
    title = _title_of(codebase, path, symbol)
    names = list(dict.fromkeys(name for name, _, _ in found))
    if title is None or len(names) > MAX_NAMED:
        return
    for name in names:
        same = [(condition, place) for other, condition, place in found if other == name]
        if all(condition for condition, _ in same) and len(same) <= 3:
            conditions = " or ".join(f"`{condition}`" for condition, _ in same)
            yield QAPair(
                "raise",
                f"When does {title} raise `{name}`?",
                f"It raises `{name}` if {conditions}.",
                _evidence(codebase, [place for _, place in same]),
            )
    if len(names) > 1:
        yield QAPair(
            "raise",
            f"Which exceptions does {title} raise itself?",
            f"It raises {join_names([f'`{name}`' for name in names])}.",
            _evidence(codebase, [place for _, _, place in found]),
        )


def _ask_places(
    codebase: Codebase, kind: str, question: str, places: Sequence[Place], own: str = ""
) -> Iterator[QAPair]:
    """Ask where something happens; what happens within itself is not counted."""
    kept = [place for place in places if place.symbol.rpartition(".")[2] != own or not own]
    named = [(_holder(place), place.path) for place in kept]
    if 0 < len(set(named)) <= MAX_NAMED:
        points = [point for place in kept if (point := _owner_line(codebase, place))]
        evidence = _evidence(codebase, [*kept, *points])
        yield QAPair(kind, question, f"{join_names(list(in_files(named)))}.", evidence)


def _holder(place: Place) -> str:
    """Name what is around a place; a method that every class has, with its class."""
    owner, _, name = place.symbol.rpartition(".")
    if not name:
        return "the module itself"
    return f"`{place.symbol}`" if _DUNDER.match(name) and "." not in owner else f"`{name}`"


def _owner_line(codebase: Codebase, place: Place) -> Place | None:
    """Find the line that names the class, where `_holder` names it."""
    owner, _, name = place.symbol.rpartition(".")
    inside = codebase.definitions.get(place.path, ()) if _DUNDER.match(name) else ()
    lines = [codebase.name_line(each) for each in inside if each.symbol == owner]
    return Place(place.path, "", 0, lines[0], lines[0]) if lines else None
