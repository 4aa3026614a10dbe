"""Question-answer pairs mined from repositories, each with the lines that prove the answer.

No model writes them, and nothing is run: the same snapshots and settings give the same pairs in
the same order. A question that has two answers is left out, and so is an answer that puts a name
in backticks that its evidence does not hold. A pair is dealt to the split of the files that it is
taken from, so that what is held out of a dataset of whole files is held out here too.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice, zip_longest
from typing import TypeVar

from data_tools import (
    qa_behaviour,
    qa_docstrings,
    qa_options,
    qa_parameters,
    qa_places,
    qa_prose,
    qa_signatures,
)
from data_tools.pairs import COMMITS
from data_tools.progress import Progress, ReportProgress
from data_tools.qa_codebase import (
    MESSAGE_PATH,
    Codebase,
    QAPair,
    chance,
    code_spans,
    read_codebase,
)
from data_tools.qa_python import PythonModule, read_module
from data_tools.sources import Snapshot
from data_tools.split import SEED, SHARES, SPLITS, Assignment, assign_splits
from data_tools.unanswerable import ask_absent

ABSENT = "absent"
ABSENT_SHARE = 0.1  # of the pairs that have an answer, where no limit is set

T = TypeVar("T")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class _Source:
    """A repository as the miners take it; Python is parsed when the first of them asks."""

    codebase: Codebase
    commits: int

    @cached_property
    def modules(self) -> dict[str, PythonModule]:
        files = (file for file in self.codebase.files if file.language == "python")
        read = (read_module(file, self.codebase.lines[file.path]) for file in files)
        return {module.path: module for module in read if module is not None}


_MINERS: Mapping[str, Callable[[_Source], Iterator[QAPair]]] = {
    "docstring": lambda source: qa_docstrings.mine_docstrings(source.codebase),
    "lookup": lambda source: qa_docstrings.mine_lookups(source.codebase),
    "signature": lambda source: qa_signatures.mine_signatures(source.codebase),
    "parameter": lambda source: qa_parameters.mine_parameters(source.codebase),
    "definition": lambda source: qa_places.mine_definitions(source.codebase),
    "subclass": lambda source: qa_places.mine_subclasses(source.codebase, source.modules),
    "call": lambda source: qa_places.mine_calls(source.codebase, source.modules),
    "raise": lambda source: qa_places.mine_raises(source.codebase, source.modules),
    "howto": lambda source: qa_prose.mine_howtos(source.codebase),
    "why": lambda source: qa_prose.mine_reasons(source.codebase, limit=source.commits),
    "test": lambda source: qa_behaviour.mine_behaviour(source.codebase, source.modules),
    "option": lambda source: qa_options.mine_options(source.codebase, source.modules),
}
KINDS = (*_MINERS, ABSENT)


@dataclass(frozen=True)
class MiningSettings:
    """What to mine, and how much of it.

    :param kinds: which of `KINDS`.
    :param limit: how many pairs at most, evenly over kinds; None keeps all.
    :param shares: of the files, for each split.
    :param commits: how many commits of a repository are looked at, newest first.
    :param refusal: what the answer begins with to a question that nothing answers.
    """

    refusal: str
    kinds: tuple[str, ...] = KINDS
    limit: int | None = None
    seed: int = SEED
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    commits: int = COMMITS

    def __post_init__(self) -> None:
        """Refuse kinds that there are not.

        :raises ValueError: a kind is not one of `KINDS`.
        """
        if unknown := sorted(set(self.kinds) - set(KINDS)):
            raise ValueError(f"unknown kind {unknown[0]!r}; choose from {', '.join(KINDS)}")


@dataclass(frozen=True)
class MinedPairs:
    """Pairs, and what became of the others.

    :param pairs: in the order of repositories, kinds and files; each has its split.
    :param dropped: reason → how many were left out for it.
    :param assignments: (repo, path) → where each file went.
    """

    pairs: tuple[QAPair, ...]
    dropped: dict[str, int]
    assignments: Mapping[tuple[str, str], Assignment]


def mine_qa_pairs(
    snapshots: Sequence[Snapshot], settings: MiningSettings, report: ReportProgress
) -> MinedPairs:
    """Mine pairs from repositories, deal them to splits, and choose among them.

    :raises SourceError: a repository cannot be read.
    :raises ValueError: the shares are none.
    """
    codebases = [read_codebase(snapshot, report) for snapshot in snapshots]
    files = chain.from_iterable(codebase.files for codebase in codebases)
    assignments = assign_splits(files, settings.shares, settings.seed)
    found: list[QAPair] = []
    for codebase in codebases:
        source = _Source(codebase, settings.commits)
        for kind in settings.kinds:
            for pair in _MINERS[kind](source) if kind in _MINERS else ():
                found.append(pair)
                report(Progress("mine", len(found)))
    texts = {codebase.name: codebase for codebase in codebases}
    supported = [pair for pair in found if is_supported(pair, texts)]
    clear = without_ambiguous(supported)
    dealt = list(deal(clear, assignments))
    kept = [pair for pair in dealt if pair.split]
    if ABSENT in settings.kinds:
        kept += _mine_absent(codebases, settings, len(kept))
    chosen = choose(kept, settings.limit, settings.seed)
    dropped = {
        "a name that the evidence does not hold": len(found) - len(supported),
        "a question asked more than once": len(supported) - len(clear),
        "evidence in several splits": sum(not pair.split for pair in dealt),
        "more than the limit": len(kept) - len(chosen),
    }
    return MinedPairs(tuple(chosen), dropped, assignments)


def is_supported(pair: QAPair, codebases: Mapping[str, Codebase]) -> bool:
    """Tell whether every name that an answer puts in backticks stands in its evidence.

    Paths of the evidence count as told by it; the lines of a commit's message are not looked at.
    """
    if any(each.path == MESSAGE_PATH for each in pair.evidence):
        return True
    text = "\n".join(
        codebases[each.repo].text(each.path, each.start_line, each.end_line)
        for each in pair.evidence
    )
    known = {*_IDENTIFIER.findall(text)}
    paths = {each.path for each in pair.evidence}
    spans = (span for span in code_spans(pair.answer) if span not in paths)
    return all(known.issuperset(_IDENTIFIER.findall(span)) for span in spans)


def without_ambiguous(pairs: Iterable[QAPair]) -> list[QAPair]:
    """Leave out questions that are answered in more than one way, and repetitions."""
    distinct = {(pair.question.casefold(), pair.answer): pair for pair in reversed(list(pairs))}
    count = Counter(question for question, _ in distinct)
    kept = [pair for (question, _), pair in distinct.items() if count[question] == 1]
    return kept[::-1]


def deal(
    pairs: Iterable[QAPair], assignments: Mapping[tuple[str, str], Assignment]
) -> Iterator[QAPair]:
    """Give each pair the split of its evidence's files; none, if these are in several."""
    for pair in pairs:
        files = {(each.repo, each.path) for each in pair.evidence if each.path != MESSAGE_PATH}
        splits = {assignments[file].split for file in files}
        yield replace(pair, split=splits.pop() if len(splits) == 1 else "")


def choose(pairs: Sequence[QAPair], limit: int | None, seed: int) -> list[QAPair]:
    """Choose pairs evenly over kinds, and within a kind over files; their order stays.

    :param limit: how many, at most; None keeps all.
    """
    if limit is None or len(pairs) <= limit:
        return list(pairs)
    groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    order = sorted(range(len(pairs)), key=lambda at: chance(seed, f"choose {pairs[at].id}"))
    for at in order:
        pair = pairs[at]
        groups[pair.kind][pair.evidence[0].path if pair.evidence else ""].append(at)
    kinds = [list(_in_turn(list(by_file.values()))) for by_file in groups.values()]
    return [pairs[at] for at in sorted(islice(_in_turn(kinds), limit))]


def _in_turn(groups: Sequence[Sequence[T]]) -> Iterator[T]:
    """Yield the first of each group, then the second of each, and so on."""
    for turn in zip_longest(*groups):
        yield from (each for each in turn if each is not None)


def _mine_absent(
    codebases: Sequence[Codebase], settings: MiningSettings, answered: int
) -> Iterator[QAPair]:
    """Ask about what no repository holds; chance deals these to the splits."""
    limit = settings.limit
    wanted = max(1, round(ABSENT_SHARE * answered)) if limit is None else limit
    definitions = list(chain.from_iterable(each.outside_tests for each in codebases))
    texts = (file.text for codebase in codebases for file in codebase.files)
    chooser = random.Random(settings.seed)
    named = (each for each in ask_absent(definitions, texts, chooser) if "`" in each)
    for question in islice(named, wanted):
        answer = f"{settings.refusal} They do not mention `{code_spans(question)[0]}`."
        pair = QAPair(ABSENT, question, answer, ())
        yield replace(pair, split=_split_bychance(pair.id, settings))


def _split_bychance(key: str, settings: MiningSettings) -> str:
    drawn, bound = chance(settings.seed, f"split {key}"), 0.0
    for split in SPLITS:
        bound += settings.shares.get(split, 0.0)
        if drawn < bound:
            return split
    return "train"


def count_pairs(pairs: Iterable[QAPair]) -> dict[str, dict[str, int]]:
    """Count pairs by kind and split, in the order of the kinds."""
    count = Counter((pair.kind, pair.split) for pair in pairs)
    kinds = dict.fromkeys([*KINDS, *(kind for kind, _ in count)])
    return {
        kind: {split: count[kind, split] for split in SPLITS}
        for kind in kinds
        if any(count[kind, split] for split in SPLITS)
    }
