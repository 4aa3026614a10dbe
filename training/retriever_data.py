"""What a retriever is tuned on and measured on: questions of files that are kept apart.

Each file is on one side for good, by a hash of its repository and path: `train`, `validation`
(what is chosen after training is chosen on it) or `held_out` (looked at once, for the report). A
question is on the side of the file that answers it; one that files of two sides answer is in none.
Training examples come with hard negatives: chunks of other training files that the base model
ranks about as high. Questions whose answer it ranks nowhere near the top are left out, as they
mostly say nothing about it (consistency filter after Dai et al., "Promptagator", ICLR 2023,
arXiv:2209.11755).
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from data_tools.errors import SourceError
from data_tools.pairs import Pair
from data_tools.progress import Progress, ReportProgress
from retrieval.metrics import overlap
from retrieval.questions import GoldLines, Question
from retrieval.search import Hit
from retrieval.views import text_view

Side = Literal["train", "validation", "held_out"]
SearchRepository = Callable[[str, str, int], Sequence[Hit]]  # repository, question, k → hits

HELD_OUT = 0.2  # of the files
VALIDATION = 0.1  # of the files
MIN_EXAMPLES = 8  # below this there is nothing to learn
MIN_HELD_OUT = 5  # questions; below this there is nothing to measure


@dataclass(frozen=True)
class Example:
    """A question, the chunk that answers it, and chunks that only seem to.

    :param positive: as it is embedded by an index, for some without its header.
    :param negatives: likewise; as many for each example.
    """

    query: str
    kind: str
    positive: str
    negatives: tuple[str, ...]


@dataclass(frozen=True)
class TuningData:
    """Examples to train on, and questions to measure with, by repository.

    :param mined: kind → pairs mined.
    :param filtered: kind → training pairs left out by the consistency filter.
    """

    examples: tuple[Example, ...]
    validation: Mapping[str, tuple[Question, ...]]
    held_out: Mapping[str, tuple[Question, ...]]
    mined: Mapping[str, int]
    filtered: Mapping[str, int]


@dataclass(frozen=True)
class DataSettings:
    """How examples are chosen.

    :param max_rank: chunks of a repository searched for the answer and for negatives.
    :param hard_negatives: for each example, drawn from the `negative_pool` highest ranked: the
        very highest are most often answers themselves.
    :param false_negative_margin: a chunk is no negative if the base model finds it more similar
        to the question, by this much, than the answer: it may well be an answer too.
    :param headerless: share of examples without the header that says where a chunk stands, so
        that paths are not all that is learnt.
    :param max_questions: of each repository and side.
    """

    seed: int = 0
    max_rank: int = 100
    hard_negatives: int = 1
    negative_pool: int = 10
    false_negative_margin: float = 0.1
    headerless: float = 0.3
    max_questions: int = 500


def side_of(repo: str, path: str, *, seed: int) -> Side:
    """Say which side a file is on."""
    share = _share(f"{seed}/{repo}/{path}")
    if share < HELD_OUT:
        return "held_out"
    return "validation" if share < HELD_OUT + VALIDATION else "train"


def _share(text: str) -> float:
    """Hash a text to a number in [0, 1)."""
    digest = hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def make_data(
    pairs: Sequence[Pair],
    search: SearchRepository,
    settings: DataSettings,
    report: ReportProgress,
) -> TuningData:
    """Split pairs by the files that answer them, and make training examples and questions.

    :param search: searches the masked repositories with the base model.
    :raises SourceError: too few pairs are left to train on, or to measure with.
    """
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.repo, pair.query].append(pair)
    sided: dict[str, list[list[Pair]]] = defaultdict(list)
    for group in groups.values():
        sides = {side_of(pair.repo, pair.path, seed=settings.seed) for pair in group}
        if len(sides) == 1:
            sided[sides.pop()].append(group)
    train = sided["train"]
    examples: list[Example] = []
    filtered: Counter[str] = Counter()
    for done, group in enumerate(train, start=1):
        fresh = _make_examples(group, search, settings)
        examples += fresh
        filtered[group[0].kind] += len(group) - len(fresh)
        report(Progress("mine", done, len(train)))
    data = TuningData(
        tuple(examples),
        _make_questions(sided["validation"], settings),
        _make_questions(sided["held_out"], settings),
        mined=dict(sorted(Counter(pair.kind for pair in pairs).items())),
        filtered=dict(sorted((+filtered).items())),
    )
    _check_enough(data)
    return data


def _check_enough(data: TuningData) -> None:
    held_out = sum(map(len, data.held_out.values()))
    if len(data.examples) < MIN_EXAMPLES or held_out < MIN_HELD_OUT or not data.validation:
        raise SourceError(
            f"only {len(data.examples):,} questions to train on and {held_out:,} to measure with "
            f"could be mined; at least {MIN_EXAMPLES} and {MIN_HELD_OUT} are needed: "
            "add a repository with more docstrings or documentation"
        )


def _make_examples(
    group: Sequence[Pair], search: SearchRepository, settings: DataSettings
) -> list[Example]:
    """Make an example of each place that answers a question, if the base model finds it."""
    query, repo = group[0].query, group[0].repo
    hits = search(repo, query, settings.max_rank)
    gold_paths = {pair.path for pair in group}
    others = [
        hit
        for hit in hits
        if hit.chunk.path not in gold_paths
        and side_of(repo, hit.chunk.path, seed=settings.seed) == "train"
    ]
    examples = []
    for pair in group:
        gold = next((hit for hit in hits if overlap(hit.chunk, pair)), None)
        if gold is None:
            continue
        limit = (gold.cosine or 0.0) + settings.false_negative_margin
        negatives = [hit for hit in others if (hit.cosine or 0.0) <= limit]
        if len(negatives) < settings.hard_negatives:
            continue
        negatives = sorted(
            negatives[: settings.negative_pool],
            key=lambda hit: _share(f"{settings.seed}/{query}/{hit.chunk.path}"),
        )
        headerless = _share(f"{settings.seed}/header/{query}") < settings.headerless
        texts = [
            hit.chunk.text if headerless else text_view(hit.chunk)
            for hit in (gold, *negatives[: settings.hard_negatives])
        ]
        examples.append(Example(query, pair.kind, texts[0], tuple(texts[1:])))
    return examples


def _make_questions(
    groups: Iterable[Sequence[Pair]], settings: DataSettings
) -> dict[str, tuple[Question, ...]]:
    """Make questions of pairs, by repository: at most one of what a docstring says."""
    chosen: dict[tuple[str, ...], Sequence[Pair]] = {}
    for group in sorted(groups, key=lambda group: _share(f"{settings.seed}/{group[0].query}")):
        pair = group[0]
        documented = pair.kind in ("docstring", "rewrite")
        place = (pair.path, str(pair.start_line)) if documented else (pair.kind, pair.query)
        chosen.setdefault((pair.repo, *place), group)
    questions: dict[str, list[Question]] = defaultdict(list)
    for group in chosen.values():
        asked = questions[group[0].repo]
        if len(asked) < settings.max_questions:
            asked.append(_make_question(f"{group[0].repo}-{len(asked)}", group))
    return {repo: tuple(asked) for repo, asked in sorted(questions.items())}


def _make_question(identifier: str, group: Sequence[Pair]) -> Question:
    lines = tuple(GoldLines(pair.path, pair.start_line, pair.end_line) for pair in group)
    files = tuple(dict.fromkeys(pair.path for pair in group))
    return Question(identifier, group[0].query, files, lines, kind=group[0].kind)
