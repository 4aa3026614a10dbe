"""`codeqa eval make-questions`: a question set mined from a repository, and what to ask it of.

The questions are a repository's own words: docstrings, headings, commits, names of tests. So that
finding them is not a matter of matching the same sentence, the repository is written as a plain
folder in which the lines they were taken from are blank, all others keeping their numbers; a
question that stands word for word anywhere else is left out. Both outputs are written whole or
not at all, and a folder that is not such a corpus is never replaced.
"""

import argparse
import json
import random
import re
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, TypeVar

from app.commands import count
from data_tools.docstrings import find_definitions
from data_tools.drafts import replace_folder
from data_tools.errors import SourceError, StorageError
from data_tools.languages import BY_NAME, Kind
from data_tools.pairs import Pair, is_test, mask_lines, mine_pairs
from data_tools.sources import Snapshot, SourceFile, open_source
from data_tools.storage import storage_errors
from data_tools.unanswerable import ask_absent

MARKER = ".codeqa-corpus"  # in the folder; says that it is ours to replace
T = TypeVar("T")
Masks = dict[str, list[tuple[int, int]]]  # path → (first, last) lines


@dataclass(frozen=True)
class MinedQuestion:
    """A question and where its answer stands; nowhere, if the repository does not hold it.

    :param pairs: one for each place that answers it; empty if none does.
    """

    query: str
    kind: str
    pairs: tuple[Pair, ...] = ()

    def places(self) -> set[tuple[str, int]]:
        """Return the path and first line of each place that answers it."""
        return {(pair.path, pair.start_line) for pair in self.pairs}

    def record(self, number: int) -> dict[str, Any]:
        """Return its line of a question set."""
        return {
            "id": f"{self.kind}-{number:04}",
            "query": self.query,
            "files": list(dict.fromkeys(pair.path for pair in self.pairs)),
            "lines": [[pair.path, pair.start_line, pair.end_line] for pair in self.pairs],
            "kind": self.kind,
            "answerable": bool(self.pairs),
        }


def run_eval_make_questions(options: argparse.Namespace) -> None:
    """Mine questions, choose among them, write them and the corpus to ask them of.

    :raises SourceError: the repository cannot be read, or holds nothing to ask about.
    :raises StorageError: an output cannot be written, or would replace something else.
    """
    out, corpus = Path(options.out), Path(options.corpus)
    _refuse_other_folders(corpus, out)
    snapshot = open_source(options.repo, report=_say)
    _say(f"reading {snapshot.repository.name}")
    pairs = list(mine_pairs(snapshot, kinds=options.kinds, limit_commits=options.commits))
    files = [file for file in snapshot.files() if isinstance(file, SourceFile)]
    _say(f"{count(len(pairs), 'pair')} mined from {count(len(files), 'file')}")
    chooser = random.Random(options.seed)
    absent = round(options.limit * options.unanswerable)
    questions = choose_questions(pairs, files, options.limit - absent, chooser)
    if not questions:
        raise SourceError(
            f"{snapshot.repository.location} holds nothing to ask about: no documented "
            f"definition, heading, commit or test of the kinds {', '.join(options.kinds)}; "
            "choose other --kinds, or another repository"
        )
    questions += [
        MinedQuestion(query, "unanswerable")
        for query in islice(_ask_absent(files, chooser), absent)
    ]
    _write(questions, snapshot, files, out, corpus)
    for kind, number in Counter(question.kind for question in questions).items():
        print(f"{kind}: {number:,}")
    print(f"{out}: {count(len(questions), 'question')}; to be asked of {corpus}")


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _ask_absent(files: Sequence[SourceFile], chooser: random.Random) -> Iterator[str]:
    found = chain.from_iterable(find_definitions(file) for file in files)
    definitions = [each for each in found if not is_test(each)]
    return ask_absent(definitions, (file.text for file in files), chooser)


def choose_questions(
    pairs: Iterable[Pair], files: Iterable[SourceFile], limit: int, chooser: random.Random
) -> list[MinedQuestion]:
    """Choose questions evenly over kinds, and within a kind over files, no place twice.

    Left out is a question that stands word for word anywhere but in its own masked lines.

    :param files: all of the repository.
    :param limit: how many, at most.
    """
    texts = {file.path: file.text for file in files}
    words = "\0".join(_only_words(text) for text in texts.values())
    chosen: list[MinedQuestion] = []
    taken: set[tuple[str, int]] = set()
    for question in _in_turn(_by_file(_group(pairs), chooser).values()):
        if len(chosen) == limit:
            break
        if taken.isdisjoint(question.places()) and not _is_told(question, texts, words):
            chosen.append(question)
            taken |= question.places()
    kinds = list(dict.fromkeys(question.kind for question in chosen))
    return sorted(chosen, key=lambda question: kinds.index(question.kind))


def _group(pairs: Iterable[Pair]) -> list[MinedQuestion]:
    """Join the pairs of one question."""
    grouped: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        grouped[pair.kind, pair.query].append(pair)
    return [MinedQuestion(query, kind, tuple(group)) for (kind, query), group in grouped.items()]


def _by_file(
    questions: Iterable[MinedQuestion], chooser: random.Random
) -> dict[str, list[MinedQuestion]]:
    """Order the questions of each kind by chance, but such that the files take turns."""
    kinds: dict[str, dict[str, list[MinedQuestion]]] = defaultdict(lambda: defaultdict(list))
    for question in questions:
        kinds[question.kind][question.pairs[0].path].append(question)
    ordered = {}
    for kind, by_file in kinds.items():
        groups = list(by_file.values())
        chooser.shuffle(groups)
        for group in groups:
            chooser.shuffle(group)
        ordered[kind] = list(_in_turn(groups))
    return ordered


def _in_turn(groups: Iterable[Sequence[T]]) -> Iterator[T]:
    """Yield the first of each group, then the second of each, and so on."""
    for turn in zip_longest(*groups):
        yield from (each for each in turn if each is not None)


def _is_told(question: MinedQuestion, texts: dict[str, str], words: str) -> bool:
    """Tell whether a question stands word for word outside the lines that will be masked."""
    query = _only_words(question.query)
    masked = (
        "\n".join(texts[path].split("\n")[first - 1 : last])
        for path, spans in _masks([question]).items()
        for first, last in spans
    )
    return words.count(query) > sum(_only_words(text).count(query) for text in masked)


def _only_words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def _masks(questions: Iterable[MinedQuestion]) -> Masks:
    spans: Masks = defaultdict(list)
    for pair in chain.from_iterable(question.pairs for question in questions):
        spans[pair.path] += [span for span in pair.masked_lines if span not in spans[pair.path]]
        if pair.origin and pair.origin[1:] not in spans[pair.origin[0]]:
            spans[pair.origin[0]].append(pair.origin[1:])
    return spans


def _write(
    questions: Sequence[MinedQuestion],
    snapshot: Snapshot,
    files: Iterable[SourceFile],
    out: Path,
    corpus: Path,
) -> None:
    """Write the question set and the corpus beside their places, then rename both."""
    records = (question.record(number) for number, question in enumerate(questions, start=1))
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    with _draft(corpus) as folder, _draft(out) as file:
        folder.mkdir(parents=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(lines), "utf-8")
        write_corpus(files, _masks(questions), folder)
        repository = snapshot.repository
        (folder / MARKER).write_text(f"{repository.name} at {repository.commit}\n", "utf-8")
        replace_folder(corpus, folder, corpus.with_name(f".{corpus.name}.old"))
        file.replace(out)


@contextmanager
def _draft(place: Path) -> Iterator[Path]:
    """Give a path to write to in the place of another; nothing stays there in the end."""
    draft = place.with_name(f".{place.name}.new")
    with storage_errors(place):
        try:
            shutil.rmtree(draft, ignore_errors=True)
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            if draft.is_file():
                draft.unlink()


def write_corpus(files: Iterable[SourceFile], masks: Masks, folder: Path) -> None:
    """Write files below `folder`, the masked lines blank.

    Notebooks are written as the Markdown that stands for them, under their name and `.md`.
    """
    for file in files:
        suffix = ".md" if BY_NAME[file.language].kind is Kind.NOTEBOOK else ""
        target = folder / (file.path + suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(mask_lines(file.text, masks.get(file.path, ())).encode("utf-8"))


def _refuse_other_folders(corpus: Path, out: Path) -> None:
    if out.is_dir():
        raise StorageError(f"{out} is a folder; name a file for the questions")
    if out.resolve().is_relative_to(corpus.resolve()):
        raise StorageError(f"{out} would be part of the corpus; choose a place outside {corpus}")
    if corpus.is_symlink() or (
        corpus.exists() and not (corpus / MARKER).is_file() and not _is_empty(corpus)
    ):
        raise StorageError(
            f"{corpus} is not a corpus that this command wrote, so it is not replaced; "
            "move it away or choose another folder"
        )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())
