"""Datasets of question-answer pairs: mined, written by a model, and given passages.

One dataset holds the pairs, a second one, where it is asked for, the same pairs with passages to
answer from. Both are made anew only if what they are made of has changed, and written whole or
not at all, the second last. The journal of what a model wrote stays beside the first, so that the
model is asked about a passage once.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from data_tools.dataset import DatasetSource, content_hash, is_current, read_manifest
from data_tools.errors import DatasetError
from data_tools.progress import Progress, ReportProgress
from data_tools.qa_codebase import QAPair
from data_tools.qa_dataset import identify, write_pairs_dataset
from data_tools.qa_pairs import (
    MinedPairs,
    MiningSettings,
    count_pairs,
    mine_qa_pairs,
    without_ambiguous,
)
from data_tools.sources import Snapshot
from retrieval.index import CodeIndex
from training.raft import RaftExample, RaftSettings, make_examples
from training.retriever_corpus import open_sources
from training.written_pairs import Ask, WritingSettings, write_pairs

FORMAT = 1  # of the recipe: raised when the same settings come to give other pairs

Kind = Literal["pairs", "raft"]


@dataclass(frozen=True)
class QADatasetSettings:
    """What to make, and where.

    :param out: folder of the pairs.
    :param raft_out: folder of the pairs with passages; None for none.
    :param index: folder of an index of the same repositories; None makes one for the time.
    :param writing: what a model is to write; None for nothing.
    """

    mining: MiningSettings
    out: Path
    raft_out: Path | None = None
    raft: RaftSettings = field(default_factory=RaftSettings)
    index: Path | None = None
    writing: WritingSettings | None = None

    @property
    def folders(self) -> dict[Kind, Path]:
        """Return the datasets to make, by kind."""
        folders: dict[Kind, Path] = {"pairs": self.out}
        if self.raft_out:
            folders["raft"] = self.raft_out
        return folders


@dataclass(frozen=True)
class QADatasetReport:
    """One dataset that was asked for.

    :param version: `NAME@HASH`.
    :param up_to_date: whether it was there already; then `kinds` and `dropped` are empty.
    :param splits: split → pairs in it.
    :param kinds: kind of pair → split → how many.
    :param refusals: pairs whose right answer is that the passages do not say.
    :param dropped: reason → pairs that were left out for it.
    """

    folder: str
    version: str
    up_to_date: bool
    splits: dict[str, int]
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    refusals: int = 0
    dropped: dict[str, int] = field(default_factory=dict)


def make_qa_datasets(
    specs: Sequence[str],
    settings: QADatasetSettings,
    report: ReportProgress,
    *,
    ask: Ask | None = None,
    force: bool = False,
) -> dict[Kind, QADatasetReport]:
    """Make the datasets that `settings` ask for, unless they are up to date.

    :param specs: repositories, `REPO[@REF]` each.
    :param ask: gives a model's reply to messages; needed if `settings.writing` is set.
    :param force: make them even if they are up to date.
    :raises SourceError: a repository cannot be read.
    :raises DatasetError: nothing can be asked about, or the index is of other repositories.
    :raises LanguageModelError: the model does not answer; what it wrote before is kept.
    :raises StorageError: the disk is full or not writable, or a folder holds something else.
    """
    snapshots = open_sources(specs, report)
    recipes = _recipes(snapshots, settings)
    hashes = {kind: content_hash(recipe) for kind, recipe in recipes.items()}
    folders = settings.folders
    if not force and all(is_current(folders[kind], hashes[kind]) for kind in recipes):
        return {kind: _describe(folder) for kind, folder in folders.items()}
    mined = mine_qa_pairs(snapshots, settings.mining, report)
    pairs, dropped = mined.pairs, mined.dropped
    examples: list[RaftExample] = []
    lost: Mapping[str, int] = {}
    if settings.raft_out or settings.writing:
        with _open_index(specs, settings.index, report) as index:
            if settings.writing and ask:
                pairs, dropped = _add_written(mined, index, ask, settings, report)
            if settings.raft_out:
                examples, lost = make_examples(
                    pairs, index, mined.assignments, settings.raft, report
                )
    if not pairs:
        raise DatasetError(
            f"nothing can be asked about {', '.join(specs)}: the kinds "
            f"{', '.join(settings.mining.kinds)} give no pair; choose others, or other repositories"
        )
    sources = _sources(snapshots, mined)
    records = {
        "pairs": [pair.record() for pair in pairs],
        "raft": [example.record() for example in examples],
    }
    counted = {"pairs": pairs, "raft": [example.pair for example in examples]}
    reports: dict[Kind, QADatasetReport] = {}
    for kind, folder in folders.items():
        manifest = write_pairs_dataset(
            folder,
            records[kind],
            name=folder.absolute().name,
            hash=hashes[kind],
            kind=kind,
            sources=sources,
            settings=recipes[kind],
        )
        reports[kind] = QADatasetReport(
            str(folder),
            manifest.version,
            up_to_date=False,
            splits={split: counts.samples for split, counts in manifest.splits.items()},
            kinds=count_pairs(counted[kind]),
            refusals=sum(not record["evidence"] for record in records[kind]),
            dropped=dict(dropped if kind == "pairs" else lost),
        )
    return reports


def _recipes(
    snapshots: Sequence[Snapshot], settings: QADatasetSettings
) -> dict[Kind, dict[str, JsonValue]]:
    """Write down, for each dataset, everything that determines it."""
    mining = settings.mining
    recipe: dict[str, JsonValue] = {
        "format": FORMAT,
        "sources": [identify(snapshot) for snapshot in snapshots],
        "kinds": list(mining.kinds),
        "limit": mining.limit,
        "seed": mining.seed,
        "shares": dict(mining.shares),
        "commits": mining.commits,
        "refusal": mining.refusal,
        "writing": asdict(settings.writing) if settings.writing else None,
    }
    recipes: dict[Kind, dict[str, JsonValue]] = {"pairs": recipe}
    if settings.writing:
        recipe["index"] = _identify_index(settings.index)
    if settings.raft_out:
        raft = {**recipe, "raft": asdict(settings.raft), "index": _identify_index(settings.index)}
        recipes["raft"] = raft
    return recipes


def _identify_index(folder: Path | None) -> JsonValue:
    """Say which index it is: what passages it holds, and which model searches it."""
    if folder is None:
        return None
    with CodeIndex.open(folder) as index:
        manifest = index.manifest
        return {
            "commits": {record.name: record.commit for record in manifest.repositories},
            "chunks": manifest.chunks,
            "embedder": manifest.embedder.fingerprint,
        }


@contextlib.contextmanager
def _open_index(
    specs: Sequence[str], folder: Path | None, report: ReportProgress
) -> Iterator[CodeIndex]:
    """Open an index, or make one that is gone afterwards."""
    if folder is not None:
        with CodeIndex.open(folder) as index:
            yield index
        return
    with tempfile.TemporaryDirectory(prefix="codeqa-index-") as scratch:
        report(Progress("notice", message="making an index for the passages; --index spares this"))
        with CodeIndex.build(list(dict.fromkeys(specs)), scratch, report=report) as index:
            yield index


def _add_written(
    mined: MinedPairs,
    index: CodeIndex,
    ask: Ask,
    settings: QADatasetSettings,
    report: ReportProgress,
) -> tuple[tuple[QAPair, ...], dict[str, int]]:
    """Add what a model writes to what was mined."""
    assert settings.writing is not None
    journal = settings.out.absolute().with_name(f".{settings.out.absolute().name}.written.jsonl")
    written = write_pairs(index, ask, mined.assignments, settings.writing, journal, report)
    together = [*mined.pairs, *written.pairs]
    clear = without_ambiguous(together)
    dropped = {**mined.dropped, **{f"written: {why}": n for why, n in written.dropped.items()}}
    ambiguous = len(together) - len(clear)
    return tuple(clear), dropped | ({"written: asked before": ambiguous} if ambiguous else {})


def _sources(snapshots: Sequence[Snapshot], mined: MinedPairs) -> list[DatasetSource]:
    return [
        DatasetSource(
            repo=snapshot.repository.name,
            location=snapshot.repository.location,
            commit=snapshot.repository.commit,
            files=sum(repo == snapshot.repository.name for repo, _ in mined.assignments),
        )
        for snapshot in snapshots
    ]


def _describe(folder: Path) -> QADatasetReport:
    """Report a dataset that is up to date."""
    manifest = read_manifest(folder)
    splits = {split: counts.samples for split, counts in manifest.splits.items()}
    return QADatasetReport(str(folder), manifest.version, up_to_date=True, splits=splits)
