"""Repositories whose answers stand in no question's words: what a retriever is tuned on.

A question mined from a docstring is found word for word in that docstring, so every mined line is
blanked first, as plain text folders beside the repositories. These are indexed like any other
folder; nothing of the repositories themselves is changed. Notebooks are left out: their text is
not the file's.
"""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_tools.errors import SourceError
from data_tools.filters import IGNORE_FILE
from data_tools.languages import BY_NAME, Kind
from data_tools.pairs import Pair, mask_lines, mine_pairs
from data_tools.progress import Progress, ReportProgress
from data_tools.sources import (
    Repository,
    Snapshot,
    SourceFile,
    open_source,
    safe_relative_path,
    split_spec,
    unique_name,
)
from data_tools.storage import storage_errors

_IGNORE_FILES = (".gitignore", IGNORE_FILE)  # they would hide files that are tracked all the same


@dataclass(frozen=True)
class MaskedRepository:
    """A repository, the questions mined from it, and a copy of it that holds none of them.

    :param folder: the copy: the files with the mined lines blank. It is named as the repository.
    """

    repository: Repository
    folder: Path
    pairs: tuple[Pair, ...]


def open_sources(specs: Sequence[str], report: ReportProgress) -> list[Snapshot]:
    """Open every repository under a name of its own.

    :param specs: `REPO[@REF]` each; one that is given twice is opened once.
    :raises SourceError: one cannot be read.
    """
    names: list[str] = []
    snapshots = []
    for spec in dict.fromkeys(specs):
        names.append(unique_name(split_spec(spec)[0], names))
        report(Progress("clone", message=f"opening {names[-1]}"))
        snapshot = open_source(
            spec,
            name=names[-1],
            report=lambda line: report(Progress("clone", message=line)),
        )
        if snapshot.notice:
            report(Progress("notice", message=snapshot.notice))
        snapshots.append(snapshot)
    return snapshots


def mask_repositories(
    snapshots: Sequence[Snapshot], out: Path, report: ReportProgress
) -> list[MaskedRepository]:
    """Mine every repository, and write what is left of it to `out/<name>`; replaces `out`.

    :raises SourceError: a repository cannot be read, or nothing can be mined from any of them.
    :raises StorageError: `out` is full or not writable.
    """
    shutil.rmtree(out, ignore_errors=True)
    masked = []
    for snapshot in snapshots:
        name = snapshot.repository.name
        report(Progress("notice", message=f"mining questions from {name}"))
        pairs = tuple(mine_pairs(snapshot))
        with storage_errors(out):
            _write_masked(snapshot, pairs, out / name)
        masked.append(MaskedRepository(snapshot.repository, out / name, pairs))
        counts = ", ".join(f"{number:,} {kind}" for kind, number in count_kinds(pairs).items())
        report(Progress("notice", message=f"{name}: {counts or 'no questions'}"))
    if not any(repository.pairs for repository in masked):
        raise SourceError(
            "the repositories hold no docstrings, headings, commits or tests to make questions of; "
            "add a repository that is documented"
        )
    return masked


def count_kinds(pairs: Sequence[Pair]) -> dict[str, int]:
    """Count pairs by kind, in the order of the kinds' names."""
    return dict(sorted(Counter(pair.kind for pair in pairs).items()))


def _write_masked(snapshot: Snapshot, pairs: Sequence[Pair], folder: Path) -> None:
    spans: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for pair in pairs:
        spans[pair.path].update(pair.masked_lines)
        if pair.origin:
            path, first, last = pair.origin
            spans[path].add((first, last))
    for file in _writable_files(snapshot):
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(mask_lines(file.text, spans.get(file.path, ())).encode("utf-8"))


def _writable_files(snapshot: Snapshot) -> Iterator[SourceFile]:
    """Yield the text files that a plain folder gives back as they are."""
    for file in snapshot.files():
        if (
            isinstance(file, SourceFile)
            and safe_relative_path(file.path)
            and Path(file.path).name not in _IGNORE_FILES
            and BY_NAME[file.language].kind is not Kind.NOTEBOOK
        ):
            yield replace(file, text=file.text.encode("utf-8", "replace").decode("utf-8"))
