"""What a model is asked in an evaluation: held-out pairs in four contexts, and question sets.

The four contexts are no context (the question alone, as one message of the user: what the model
knows by heart), the gold passage, the gold passage among distractors, and what the index really
finds. But for the first, prompts are `retrieval.prompt.answer_messages`, as the chat sends them.
Pairs in retrieval-augmented form bring their passages; others need an index for them. Pairs whose
answer is not there are asked in their own form only, and their right answer is a refusal.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from data_tools.chunk import Chunk
from data_tools.errors import DatasetError
from data_tools.qa_codebase import MESSAGE_PATH
from data_tools.text import split_lines
from retrieval.fence import REPEATABLE_KEY
from retrieval.index import CodeIndex
from retrieval.metrics import Lines, overlap
from retrieval.prompt import (
    MAX_EVIDENCE_CHARS,
    Message,
    answer_messages,
    fit_evidence,
    parse_passages,
)
from retrieval.questions import read_questions, telling_questions
from training.model_metrics import is_refusal

PAIRS = "pairs"
CONTEXTS = ("no_context", "gold_passage", "gold_with_distractors", "retrieval")
PASSAGES = 8  # found by the index, as the chat asks for
DISTRACTORS = 4  # beside the gold passages of a pair that brings none
MAX_ANSWER_FILES = 5  # an answer that stands in more files is found by chance

T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """One prompt, and what is right.

    :param passages: what the prompt shows, for checking citations.
    :param gold: the right answer.
    :param gold_lines: where it stands.
    :param is_absent: the right answer is a refusal.
    """

    id: str
    messages: tuple[Message, ...]
    gold: str
    passages: tuple[Chunk, ...] = ()
    gold_lines: tuple[Lines, ...] = ()
    is_absent: bool = False


@dataclass(frozen=True)
class Finder:
    """An index to take passages from, and how much of them a prompt may hold.

    :param max_chars: of all passages of a prompt together.
    """

    index: CodeIndex
    max_chars: int = MAX_EVIDENCE_CHARS

    def find(self, question: str) -> list[Chunk]:
        """Find passages as the chat does, best first."""
        hits = self.index.search(question, PASSAGES)
        return fit_evidence([hit.chunk for hit in hits], max_chars=self.max_chars)


class _Evidence(BaseModel):
    model_config = ConfigDict(frozen=True)

    repo: str
    commit: str | None = None
    path: str
    start_line: int
    end_line: int


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)

    role: str
    content: str


class Pair(BaseModel):
    """A line of a pairs dataset; `prompt`, `completion` and `gold` in retrieval-augmented form."""

    model_config = ConfigDict(frozen=True)

    id: str
    question: str
    answer: str
    evidence: list[_Evidence] = []
    prompt: list[_Message] | None = None
    completion: list[_Message] | None = None
    gold: list[int] = []

    @property
    def right_answer(self) -> str:
        """What the model was taught to say."""
        return self.completion[-1].content if self.completion else self.answer

    @property
    def is_absent(self) -> bool:
        """Whether a refusal is right."""
        return is_refusal(self.right_answer)


def read_pairs(folder: Path, split: str) -> list[Pair]:
    """Read one split of a dataset that `codeqa qa-pairs` wrote.

    :raises DatasetError: there is none, it is empty, or a line is no pair.
    """
    file = folder / f"{split}.jsonl"
    try:
        lines = [line for line in split_lines(file.read_text("utf-8")) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{folder} has no readable {split}.jsonl; give a dataset that `codeqa qa-pairs` wrote"
        ) from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        try:
            pairs.append(Pair.model_validate_json(line))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            place = ".".join(map(str, fault["loc"]))
            raise DatasetError(
                f"{file}:{number} is no pair ({place}: {fault['msg']}); make the dataset again"
            ) from error
    if not pairs:
        raise DatasetError(f"{file} is empty; choose another with --split, or mine more pairs")
    return pairs


def sample(items: Sequence[T], limit: int | None, keys: Iterable[str]) -> list[T]:
    """Keep at most `limit` items, by a hash of their keys: the same ones each time, in order."""
    if limit is None or len(items) <= limit:
        return list(items)
    hashes = [hashlib.sha256(key.encode("utf-8", "replace")).digest() for key in keys]
    kept = sorted(range(len(items)), key=lambda at: hashes[at])[:limit]
    return [items[at] for at in sorted(kept)]


def ask_pairs(pairs: Sequence[Pair], finder: Finder | None) -> dict[str, list[Asked]]:
    """Ask held-out pairs in their own form (`PAIRS`) and in each of `CONTEXTS`.

    :param finder: None: contexts that need an index are left out.
    :raises DatasetError: the index is of another commit than the pairs.
    """
    asked: dict[str, list[Asked]] = {part: [] for part in (PAIRS, *CONTEXTS)}
    chunks = _Chunks(finder.index) if finder else None
    for pair in pairs:
        own = _ask_as_it_is(pair)
        asked[PAIRS].append(own)
        if pair.is_absent:
            continue
        asked["no_context"].append(_ask(pair, None))
        if pair.prompt:
            gold = [own.passages[number - 1] for number in pair.gold]
            asked["gold_passage"].append(_ask(pair, gold))
            asked["gold_with_distractors"].append(own)
        elif finder and chunks and (found := chunks.gold(pair)):
            gold = fit_evidence(found, max_chars=finder.max_chars)
            asked["gold_passage"].append(_ask(pair, gold))
            asked["gold_with_distractors"].append(_ask(pair, _add_distractors(pair, gold, finder)))
        if finder:
            asked["retrieval"].append(_ask(pair, finder.find(pair.question)))
    return {part: items for part, items in asked.items() if items}


def _ask_as_it_is(pair: Pair) -> Asked:
    """Ask a pair as it was written; without passages, the question alone."""
    if pair.prompt is None:
        return _ask(pair, None)
    messages = [Message(role=each.role, content=each.content) for each in pair.prompt]
    passages = parse_passages(pair.prompt[-1].content)
    if pair.gold and not 1 <= min(pair.gold) <= max(pair.gold) <= len(passages):
        raise DatasetError(f"pair {pair.id} names a passage it does not show; make the pairs again")
    return _ask(pair, passages, messages)


def _ask(
    pair: Pair, passages: Sequence[Chunk] | None, messages: Sequence[Message] | None = None
) -> Asked:
    return Asked(
        pair.id,
        tuple(messages or _write(pair.question, passages)),
        pair.right_answer,
        tuple(passages or ()),
        tuple(pair.evidence),
        pair.is_absent,
    )


def _write(question: str, passages: Sequence[Chunk] | None) -> list[Message]:
    if passages is None:
        return [Message(role="user", content=question)]
    return answer_messages(question, passages, key=REPEATABLE_KEY)


def _add_distractors(pair: Pair, gold: Sequence[Chunk], finder: Finder) -> list[Chunk]:
    """Put the gold passages where their id's hash says, among others that the question finds."""
    found = [chunk for chunk in finder.find(pair.question) if not _holds(chunk, pair.evidence)]
    room = finder.max_chars - sum(len(chunk.text) for chunk in gold)
    others: list[Chunk] = []
    for chunk in found[:DISTRACTORS]:
        room -= len(chunk.text)
        if room >= 0:
            others.append(chunk)
    place = hashlib.sha256(pair.id.encode("utf-8", "replace")).digest()[0] % (len(others) + 1)
    return [*others[:place], *gold, *others[place:]]


def _holds(chunk: Chunk, evidence: Iterable[_Evidence]) -> bool:
    return any(each.repo == chunk.repo and overlap(chunk, each) for each in evidence)


class _Chunks:
    """The chunks of an index, by file."""

    def __init__(self, index: CodeIndex) -> None:
        self._by_file: dict[tuple[str, str], list[Chunk]] = {}
        for chunk in index.chunks():
            self._by_file.setdefault((chunk.repo, chunk.path), []).append(chunk)

    def gold(self, pair: Pair) -> list[Chunk]:
        """Return the chunks that hold a pair's evidence, in its order; messages are in none.

        :raises DatasetError: the index lacks one, or has it at another commit.
        """
        found: dict[Chunk, None] = {}
        for each in pair.evidence:
            if each.path == MESSAGE_PATH:
                continue
            chunks = [
                chunk
                for chunk in self._by_file.get((each.repo, each.path), ())
                if overlap(chunk, each)
            ]
            commits = {chunk.commit for chunk in chunks}
            if not chunks or (each.commit and commits != {each.commit}):
                at = f" at {each.commit[:12]}" if each.commit else ""
                raise DatasetError(
                    f"the index does not hold {each.path}:{each.start_line}-{each.end_line} of "
                    f"{each.repo}{at}; index the commit that the pairs were mined from"
                )
            found.update(dict.fromkeys(chunks))
        return list(found)


def ask_questions(
    files: Sequence[Path], finder: Finder | None, limit: int | None
) -> dict[str, list[Asked]]:
    """Ask question sets that say the answer: with what the index finds, else the question alone.

    :return: by `questions:NAME`; with an index also `questions:NAME:telling`, those whose answer
        stands in 1 to `MAX_ANSWER_FILES` files, so that chance does not find it. Questions whose
        answer the set leaves empty are not asked.
    :raises QuestionSetError: a file is no question set.
    """
    asked: dict[str, list[Asked]] = {}
    texts = _file_texts(finder.index) if finder else None
    for file in files:
        questions = [each for each in read_questions(file) if each.answer is not None]
        questions = sample(questions, limit, (each.query for each in questions))
        part = f"questions:{file.stem}"
        by_id = {}
        for question in questions:
            passages = finder.find(question.query) if finder else None
            by_id[question.id] = Asked(
                question.id,
                tuple(_write(question.query, passages)),
                question.answer or "",
                tuple(passages or ()),
                question.lines,
            )
        asked[part] = list(by_id.values())
        if texts is not None:
            telling = telling_questions(questions, texts.values(), max_files=MAX_ANSWER_FILES)
            if 0 < len(telling) < len(questions):
                asked[f"{part}:telling"] = [by_id[question.id] for question in telling]
    return {part: items for part, items in asked.items() if items}


def _file_texts(index: CodeIndex) -> Mapping[tuple[str, str], str]:
    texts: dict[tuple[str, str], list[str]] = {}
    for chunk in index.chunks():
        texts.setdefault((chunk.repo, chunk.path), []).append(chunk.text)
    return {key: "".join(parts) for key, parts in texts.items()}
