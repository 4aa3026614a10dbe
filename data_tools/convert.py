"""Text to MDS: dealt to splits, tokenised, cut into windows, written as shards.

`convert` writes a dataset folder whole or not at all, or to an object store with the manifest
last. It does nothing where the same dataset stands already, as told by the hash of all that
determines it. Each split has windows of its own, so that no document is in two splits; a folder of
anything else is never replaced, and an output that overlaps its input is refused.

The other engine, `data_tools.convert_spark`, writes the same samples, one part a task.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from data_tools.dataset import (
    DOCUMENTS,
    DatasetManifest,
    SplitCounts,
    TokenizerRecord,
    check_name,
    content_hash,
    make_manifest,
    register,
    write_manifest,
)
from data_tools.dataset_output import find_current, open_output, refuse_overlap
from data_tools.documents import Corpus, Document, TextDocument, read_document
from data_tools.mds import (
    COMPRESSION,
    HASHES,
    Sample,
    ShardSettings,
    check_shards,
    write_shards,
)
from data_tools.mds_reader import count_shards
from data_tools.progress import Progress, ReportProgress
from data_tools.split import SEED, SHARES, SPLITS, Assignment, assign_splits
from data_tools.storage import storage_errors
from data_tools.tokenizer import load_tokenizer, tokenizer_hash
from data_tools.windows import PART_BYTES, Part, WindowSettings, part_samples, plan_parts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMAT = 1  # of what is written; part of the hash, so that a new one makes new versions
REPORT_EVERY = 20  # documents
LOCAL_MASTER = "local[*]"


@dataclass(frozen=True)
class ConvertSettings:
    """How a corpus becomes a dataset.

    :param tokenizer: a Hugging Face folder or name.
    :param concat_tokens: tokens of a window.
    :param bos_text: stands before each document; may hold special tokens.
    :param eos_text: stands after each; None for the tokenizer's own end.
    :param wrap: documents run on across windows; otherwise each begins a new one.
    :param compression: of the shards, as streaming names it, such as `zstd:7`; None for none.
    :param hashes: of the shards, as streaming names them.
    :param shares: of the documents, for each split.
    :param part_bytes: of text that is packed together, at least.
    """

    tokenizer: str
    concat_tokens: int = 2048
    bos_text: str = ""
    eos_text: str | None = None
    wrap: bool = True
    compression: str | None = COMPRESSION
    hashes: tuple[str, ...] = HASHES
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARES))
    seed: int = SEED
    part_bytes: int = PART_BYTES

    @property
    def shards(self) -> ShardSettings:
        """How the shards are written."""
        return ShardSettings(self.concat_tokens, self.compression, self.hashes)


@dataclass(frozen=True)
class ConvertReport:
    """What came of a conversion.

    :param version: `NAME@HASH`.
    :param location: folder or URL.
    :param up_to_date: it stood there already, and nothing was done.
    :param splits: how much each of them holds.
    """

    version: str
    location: str
    up_to_date: bool
    splits: dict[str, SplitCounts]


@dataclass(frozen=True)
class _Plan:
    """Everything that determines a dataset, settled before anything is written."""

    corpus: Corpus
    settings: ConvertSettings
    tokenizer: "PreTrainedTokenizerBase"
    record: TokenizerRecord
    windows: WindowSettings
    hash: str
    name: str


def convert(
    corpus: Corpus,
    out: str,
    settings: ConvertSettings,
    *,
    name: str,
    engine: Literal["local", "spark"] = "local",
    master: str = LOCAL_MASTER,
    force: bool = False,
    report: ReportProgress | None = None,
) -> ConvertReport:
    """Write a corpus as MDS to a folder or the URL of an object store, and note its version.

    :param name: of the dataset.
    :param force: write it even if it stands there already.
    :raises ConfigError: there is no such compression or hash.
    :raises DatasetError: `out` overlaps the input, a dataset cannot be called `name`, or a document
        cannot be read.
    :raises ModelError: the tokenizer cannot be loaded.
    :raises StorageError: the disk is full, the store cannot be reached, or `out` is not ours.
    """
    refuse_overlap(out, (source.location for source in corpus.sources))
    plan = _plan(corpus, settings, check_name(name))
    if not force and (current := find_current(out, name, plan.hash)):
        register(out, current)
        return ConvertReport(current.version, out, up_to_date=True, splits=current.splits)
    if engine == "spark":
        from data_tools.convert_spark import check_spark

        check_spark()
    check_shards(settings.shards)
    with open_output(out, report) as folder:
        deal = _deal(corpus.documents, settings, report)
        manifest = _write(folder, plan, deal, engine, master, report)
    register(out, manifest)
    return ConvertReport(manifest.version, out, up_to_date=False, splits=manifest.splits)


def _plan(corpus: Corpus, settings: ConvertSettings, name: str) -> _Plan:
    tokenizer = load_tokenizer(settings.tokenizer)
    folder = Path(settings.tokenizer).expanduser()
    record = TokenizerRecord(
        name=str(folder.absolute()) if folder.is_dir() else settings.tokenizer,
        sha256=tokenizer_hash(tokenizer),
        vocab_size=len(tokenizer),
    )
    eos_text = settings.eos_text
    if eos_text is None:
        eos_text = str(tokenizer.eos_token or "")
    windows = WindowSettings(settings.concat_tokens, settings.bos_text, eos_text, settings.wrap)
    documents = hashlib.sha256()
    for document in corpus.documents:
        line = [document.repo, document.path, document.split, document.sha256]
        documents.update(json.dumps(line).encode("ascii"))
    inputs = {
        "format": FORMAT,
        "documents": documents.hexdigest(),
        "tokenizer": record.sha256,
        "windows": asdict(windows),
        "shards": asdict(settings.shards),
        "shares": dict(settings.shares),
        "seed": settings.seed,
        "part_bytes": settings.part_bytes,
    }
    return _Plan(corpus, settings, tokenizer, record, windows, content_hash(inputs), name)


def _deal(
    documents: Sequence[Document], settings: ConvertSettings, report: ReportProgress | None
) -> dict[tuple[str, str], Assignment]:
    """Choose a split for each document; one that is in a split already stays there."""
    deal = {
        (document.repo, document.path): Assignment(document.split, document.group)
        for document in documents
        if document.split
    }
    rest = [document for document in documents if not document.split]
    read = _Reader("deal", len(rest), report)
    texts = (TextDocument(document.repo, document.path, read(document)) for document in rest)
    return deal | assign_splits(texts, settings.shares, settings.seed)


def _write(
    folder: Path,
    plan: _Plan,
    deal: Mapping[tuple[str, str], Assignment],
    engine: str,
    master: str,
    report: ReportProgress | None,
) -> DatasetManifest:
    """Write splits, documents and manifest into an empty folder."""
    documents = plan.corpus.documents
    with storage_errors(folder), (folder / DOCUMENTS).open("x", encoding="utf-8") as lines:
        for document in documents:
            lines.write(json.dumps(_document_record(document, deal), ensure_ascii=True) + "\n")
    dealt: dict[str, list[Document]] = {split: [] for split in SPLITS}
    for document in documents:
        dealt[deal[document.repo, document.path].split].append(document)
    parts = {
        split: plan_parts(chosen, plan.settings.part_bytes)
        for split, chosen in dealt.items()
        if chosen
    }
    _write_shards(parts, folder, plan, engine, master, report)
    splits = {split: _count(folder / split, dealt[split], deal) for split in parts}
    manifest = make_manifest(
        folder,
        name=plan.name,
        hash=plan.hash,
        kind="mds",
        sources=list(plan.corpus.sources),
        settings=_settings_record(plan),
        splits=splits,
        tokenizer=plan.record,
    )
    write_manifest(folder, manifest)
    return manifest


def _write_shards(
    parts: Mapping[str, Sequence[Part]],
    folder: Path,
    plan: _Plan,
    engine: str,
    master: str,
    report: ReportProgress | None,
) -> None:
    """Write the shards of every split that has documents."""
    if engine == "spark":
        from data_tools.convert_spark import write_splits_with_spark

        write_splits_with_spark(
            parts,
            folder,
            plan.record.name,
            plan.windows,
            plan.settings.shards,
            master=master,
            report=report,
        )
        return
    total = sum(len(part.documents) for each in parts.values() for part in each)
    read = _Reader("tokenize", total, report)
    for split, each in parts.items():
        write_shards(_samples(each, plan, read), folder / split, plan.settings.shards)


def _count(
    folder: Path, documents: Sequence[Document], deal: Mapping[tuple[str, str], Assignment]
) -> SplitCounts:
    counts = count_shards(folder)
    groups = [deal[document.repo, document.path].group for document in documents]
    return SplitCounts(
        documents=len(documents),
        samples=counts.samples,
        tokens=counts.tokens,
        bytes=sum(document.bytes for document in documents),
        near_duplicates=len(groups) - groups.count(None),
    )


def _samples(parts: Sequence[Part], plan: _Plan, read: "_Reader") -> Iterator[Sample]:
    for part in parts:
        yield from part_samples(part, plan.tokenizer, plan.windows, read=read)


class _Reader:
    """Reads documents, and reports how many of them."""

    def __init__(self, stage: str, total: int, report: ReportProgress | None) -> None:
        self._stage, self._total, self._report, self._done = stage, total, report, 0

    def __call__(self, document: Document) -> str:
        self._done += 1
        if self._report and (self._done % REPORT_EVERY == 0 or self._done == self._total):
            self._report(Progress(self._stage, self._done, self._total))
        return read_document(document)


def _document_record(
    document: Document, deal: Mapping[tuple[str, str], Assignment]
) -> dict[str, JsonValue]:
    place = deal[document.repo, document.path]
    return {
        "repo": document.repo,
        "path": document.path,
        "split": place.split,
        "sha256": document.sha256,
        "bytes": document.bytes,
        "group": place.group,
    }


def _settings_record(plan: _Plan) -> dict[str, JsonValue]:
    return {
        **asdict(plan.windows),
        "compression": plan.settings.shards.compression,
        "hashes": list(plan.settings.shards.hashes),
        "shares": dict(plan.settings.shares),
        "seed": plan.settings.seed,
        "part_bytes": plan.settings.part_bytes,
    }
