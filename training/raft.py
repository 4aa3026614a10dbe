"""Questions with passages to answer from: the right one among wrong ones, or missing.

Each pair becomes what the chat shows a model (`retrieval.prompt.answer_messages`): chunks of an
index, those that hold the pair's evidence among what a search for the question finds besides. The
right answer cites the evidence's lines. For a share of the pairs no passage answers, for most
because it was taken away, and the right answer is a refusal. Passages of a training example are of
training files alone, so that nothing held out is seen.

Source: Zhang et al., "RAFT: Adapting Language Model to Domain Specific RAG", COLM 2024,
arXiv:2403.10131; the share that lacks its passage (1 - P there) is 0.2.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_tools.chunk import Chunk
from data_tools.errors import DatasetError
from data_tools.progress import Progress, ReportProgress
from data_tools.qa_codebase import Evidence, QAPair, chance, code_spans, join_names
from data_tools.split import SEED, Assignment
from data_tools.text import split_lines
from retrieval.citations import check_citations, format_citation
from retrieval.fence import REPEATABLE_KEY
from retrieval.index import CodeIndex
from retrieval.prompt import REFUSAL, Message, answer_messages, fit_evidence

CANDIDATES = 30  # passages searched for distractors; most are of files of the same split
MAX_GOLD = 3  # passages that evidence may need; more fill the prompt, and ask for a summary

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_WORD = re.compile(r"[^\W_]+")

Assignments = Mapping[tuple[str, str], Assignment]


@dataclass(frozen=True)
class RaftSettings:
    """How passages are chosen.

    :param distractors: wrong passages beside the right ones.
    :param absent: share of the pairs whose right answer is a refusal: those about absent things,
        and as many others as it takes, from which the right passages are taken away.
    """

    distractors: int = 4
    absent: float = 0.2
    seed: int = SEED

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        :raises ValueError: fewer than no distractors, or a share outside [0, 1].
        """
        if self.distractors < 0 or not 0 <= self.absent <= 1:
            raise ValueError("distractors must be at least 0 and absent between 0 and 1")


@dataclass(frozen=True)
class RaftExample:
    """A pair with passages.

    :param passages: as they are numbered, from 1.
    :param gold: numbers of those that hold the evidence; none where a refusal is right.
    :param completion: the right answer, with its citations.
    """

    pair: QAPair
    passages: tuple[Chunk, ...]
    gold: tuple[int, ...]
    completion: str

    def messages(self) -> list[Message]:
        """Return what a model is asked."""
        return answer_messages(self.pair.question, self.passages, key=REPEATABLE_KEY)

    def record(self) -> dict[str, Any]:
        """Return its line of a dataset; `prompt` and `completion` are TRL's fields."""
        pair = self.pair.record()
        if not self.gold:
            pair |= {"answer": self.completion, "evidence": []}
        return {
            **pair,
            "prompt": self.messages(),
            "completion": [{"role": "assistant", "content": self.completion}],
            "gold": list(self.gold),
        }


def make_examples(
    pairs: Sequence[QAPair],
    index: CodeIndex,
    assignments: Assignments,
    settings: RaftSettings,
    report: ReportProgress,
) -> tuple[list[RaftExample], dict[str, int]]:
    """Give each pair passages; the same pairs, index and settings give the same examples.

    :param index: of the same repositories at the same commits.
    :param assignments: (repo, path) → split, of every file that may be shown.
    :return: the examples, and reason → how many pairs have none for it.
    :raises DatasetError: the index holds the evidence of no pair.
    """
    proved = sum(bool(pair.evidence) for pair in pairs)
    wanted = settings.absent * len(pairs) - (len(pairs) - proved)  # besides what is absent anyway
    maker = _Maker(index, assignments, settings, max(wanted, 0.0) / max(proved, 1))
    dropped: Counter[str] = Counter()
    examples = []
    for done, pair in enumerate(pairs, start=1):
        example = maker.make(pair)
        report(Progress("passages", done, len(pairs)))
        if isinstance(example, str):
            dropped[example] += 1
        else:
            examples.append(example)
    found = any(example.pair.evidence for example in examples)
    if not found and any(pair.evidence for pair in pairs):
        raise DatasetError(
            f"the index {index.folder} holds the evidence of no pair: make it of the same "
            "repositories with `codeqa index`, or leave --index out"
        )
    return examples, dict(dropped)


class _Maker:
    """Makes one example after the other from the chunks of one index."""

    def __init__(
        self,
        index: CodeIndex,
        assignments: Assignments,
        settings: RaftSettings,
        taken_away: float,
    ) -> None:
        self._index = index
        self._taken_away = taken_away  # share of the pairs that lose their passages
        self._assignments = assignments
        self._settings = settings
        self._chunks: dict[tuple[str, str], list[Chunk]] = defaultdict(list)
        for chunk in index.chunks():
            self._chunks[chunk.repo, chunk.path].append(chunk)

    def make(self, pair: QAPair) -> RaftExample | str:
        """Make a pair an example, or say why there is none."""
        gold = self._find_gold(pair.evidence)
        if gold is None:
            return "evidence that is in no passage"
        if len(gold) > MAX_GOLD:
            return f"evidence in more than {MAX_GOLD} passages"
        refused = not gold or chance(self._settings.seed, f"absent {pair.id}") < self._taken_away
        shown = [] if refused else gold
        wanted = self._settings.distractors + (max(len(gold), 1) if refused else 0)
        others = self._find_others(pair, wanted)
        if not shown and not others:
            return "no passage beside the right one"
        passages = fit_evidence([*shown, *others])
        if len(passages) < len(shown):
            return "passages too long for a prompt"
        random.Random(f"{self._settings.seed} {pair.id}").shuffle(passages)
        numbers = {chunk: number for number, chunk in enumerate(passages, start=1)}
        if refused:
            return RaftExample(pair, tuple(passages), (), _refuse(pair, passages))
        completion = f"{pair.answer}{_separator(pair.answer)}{_cite(pair.evidence, gold, numbers)}"
        cited = {each.passage for each in check_citations(completion, passages, {}).citations}
        golden = tuple(sorted(numbers[chunk] for chunk in gold))
        if cited != set(golden):  # the answer holds what looks like a citation of its own
            return "an answer with brackets like a citation's"
        return RaftExample(pair, tuple(passages), golden, completion)

    def _find_gold(self, evidence: Iterable[Evidence]) -> list[Chunk] | None:
        """Find the chunks that hold every line of the evidence; None if there are none."""
        found: dict[Chunk, None] = {}
        for each in evidence:
            chunks = [
                chunk
                for chunk in self._chunks.get((each.repo, each.path), ())
                if chunk.commit == each.commit and _overlap(chunk, each)
            ]
            covered = chunks and chunks[0].start_line <= each.start_line
            if not covered or chunks[-1].end_line < each.end_line:
                return None
            found.update(dict.fromkeys(chunks))
        return list(found)

    def _find_others(self, pair: QAPair, wanted: int) -> list[Chunk]:
        """Find passages that a search for the question gives and that do not answer it."""
        if not wanted:
            return []
        hits = self._index.search(pair.question, CANDIDATES)
        others = (
            hit.chunk
            for hit in hits
            if self._may_be_shown(hit.chunk, pair.split)
            and not any(_overlap(hit.chunk, each) for each in pair.evidence)
            and not holds_answer(hit.chunk, pair)
        )
        return [chunk for chunk, _ in zip(others, range(wanted), strict=False)]

    def _may_be_shown(self, chunk: Chunk, split: str) -> bool:
        assigned = self._assignments.get((chunk.repo, chunk.path))
        return assigned is not None and (split != "train" or assigned.split == "train")


def _overlap(chunk: Chunk, evidence: Evidence) -> bool:
    return (
        (chunk.repo, chunk.path) == (evidence.repo, evidence.path)
        and chunk.start_line <= evidence.end_line
        and evidence.start_line <= chunk.end_line
    )


def holds_answer(chunk: Chunk, pair: QAPair) -> bool:
    """Tell whether a passage might answer a question as well as the right one.

    It might if it holds each name that the answer adds to the question, and what is asked about;
    or, where the answer adds none, its words.
    """
    said = code_spans(pair.answer)
    asked = _last_names(code_spans(pair.question))
    known = {*_IDENTIFIER.findall(chunk.text)}
    added = {name for span in said if "/" not in span for name in _IDENTIFIER.findall(span)} - asked
    if added or any("/" in span for span in said):
        paths = {span for span in said if "/" in span}
        return added | asked <= known and (not paths or chunk.path in paths)
    return _words(pair.answer) in _words(chunk.text)


def _last_names(spans: Iterable[str]) -> set[str]:
    names = (_IDENTIFIER.findall(span) for span in spans if "/" not in span)
    return {each[-1] for each in names if each}


def _words(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def _refuse(pair: QAPair, passages: Sequence[Chunk]) -> str:
    """Write the right answer where no passage answers: the refusal, and what there is instead."""
    if not pair.evidence:
        return pair.answer
    shown = [_title(chunk) for chunk in passages[:2]]
    return f"{REFUSAL} They show {join_names(list(dict.fromkeys(shown)))}."


def _title(chunk: Chunk) -> str:
    """Name a passage by the first thing it defines, or by its file."""
    symbol = chunk.symbol.partition(",")[0]
    return f"`{symbol}`" if _IDENTIFIER.match(symbol) and " " not in symbol else f"`{chunk.path}`"


def _separator(answer: str) -> str:
    return "\n\n" if answer.endswith("```") else " "


def _cite(evidence: Iterable[Evidence], gold: Sequence[Chunk], numbers: Mapping[Chunk, int]) -> str:
    return " ".join(dict.fromkeys(_citations(evidence, gold, numbers)))


def _citations(
    evidence: Iterable[Evidence], gold: Sequence[Chunk], numbers: Mapping[Chunk, int]
) -> Iterator[str]:
    """Write the evidence's lines as citations of the passages that hold them."""
    for each in evidence:
        for chunk in gold:
            if _overlap(chunk, each):
                start = max(chunk.start_line, _first_filled(chunk, each))
                end = min(chunk.end_line, each.end_line)
                yield format_citation(numbers[chunk], min(start, end), end)


def _first_filled(chunk: Chunk, evidence: Evidence) -> int:
    """Return the first line of the evidence in a chunk that is not blank."""
    lines = split_lines(chunk.text)
    first = max(chunk.start_line, evidence.start_line)
    last = min(chunk.end_line, evidence.end_line)
    span = range(first, last + 1)
    return next((at for at in span if lines[at - chunk.start_line].strip()), first)
