"""Building an index: read, chunk, index the words, then embed what is new.

The words come first, in seconds: a first build publishes a generation with lexical search alone
before it makes the vectors; of much text, even one of files cut at blank lines before that.
Vectors are cached by text, so an interrupted run goes on where it stopped and an unchanged chunk
is never embedded twice.
"""

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from data_tools.chunk import Chunk, chunk_file, cut_paragraphs
from data_tools.errors import (
    IndexDamagedError,
    IndexMissingError,
    IndexVersionError,
    SourceError,
)
from data_tools.progress import Progress, ReportProgress
from data_tools.secrets import FileSecrets
from data_tools.sources import (
    SkippedFile,
    Snapshot,
    is_site,
)
from retrieval import generations
from retrieval.changes import is_up_to_date, keep_stamps, same_content, stamp_folders
from retrieval.dense import EXACT_UP_TO, DenseIndex
from retrieval.embed import DEFAULT_EMBEDDER, Embedder, open_embedder
from retrieval.embedding_cache import EmbeddingCache
from retrieval.generations import EmbedderRecord, Manifest, RepositoryRecord
from retrieval.lexical import LexicalIndex
from retrieval.repositories import open_all, specs_not_named, without
from retrieval.store import ChunkStore, Link
from retrieval.views import embed_chunks

CHUNKS = "chunks.sqlite"
VECTORS = "vectors.faiss"
LEXICAL = "lexical"
EMBEDDINGS = "embeddings.sqlite"
STORE_SPAN = 256  # chunks written at once
HASTY_ABOVE_CHUNKS = 1_500  # about 2 MB of text: syntax trees of less take below half a second
EMBED_SPAN = 512  # texts between two saves of the cache: what Ctrl-C can lose


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    :param embedded: chunks whose text had to be embedded; the others were cached.
    :param changed: whether a new generation was written.
    """

    manifest: Manifest
    embedded: int
    changed: bool


def build_index(
    specs: Sequence[str],
    folder: Path,
    embedder: Embedder,
    report: ReportProgress,
    *,
    remove: Sequence[str] = (),
    exact_up_to: int = EXACT_UP_TO,
) -> BuildReport:
    """Index the repositories in `specs`; those in the index already and not named stay.

    :param specs: `REPO[@REF]` each; one that is in the index already is brought up to date.
    :param remove: names of repositories that the index holds and shall not.
    :param exact_up_to: above so many chunks, vectors are searched by clusters.
    :raises SourceError: a repository cannot be read, holds no text, is named twice, or cannot be
        removed because the index does not hold it or would hold nothing.
    :raises StorageError: the disk is full, or another build is running.
    """
    with generations.write_lock(folder):
        generations.remove_old_generations(folder)
        previous, known = _read_old(folder, report)
        old = previous[1] if previous and _is_finished(previous[1]) else None
        known = without(known, remove, folder, empty=not specs)
        if old is None:
            specs = [*specs, *specs_not_named(specs, known)]
        snapshots = open_all(specs, known, report)
        stamps = stamp_folders(snapshots, folder)
        if old and not remove and is_up_to_date(old, snapshots, embedder, folder, stamps):
            return BuildReport(old, 0, changed=False)
        try:
            searchable = previous is None and _publish_in_haste(folder, snapshots, embedder, report)
            draft = generations.start_draft(folder)
            store = previous[0] / CHUNKS if previous and old else None
            manifest = _write_words(draft, store, known, snapshots, embedder, report)
            if old and same_content(old, manifest):
                shutil.rmtree(draft)
                keep_stamps(folder, old, stamps)
                return BuildReport(old, 0, changed=False)
            if old is None:
                words = generations.publish_draft(draft, manifest)
                if not searchable:
                    report(Progress("lexical-ready", manifest.chunks, manifest.chunks))
                draft = generations.continue_draft(words)
            embedded = _write_vectors(draft, embedder, report, exact_up_to)
            manifest = manifest.model_copy(update={"vectors": manifest.chunks})
            generations.publish_draft(draft, manifest)
        except BaseException:
            generations.remove_drafts(folder)
            raise
        generations.remove_old_generations(folder)
        keep_stamps(folder, manifest, stamps)
        return BuildReport(manifest, embedded, changed=True)


def choose_embedder(folder: Path, embedder: Embedder | str | None) -> Embedder:
    """Open the model asked for; else the one that the index was made with, else the default."""
    if embedder is None:
        try:
            manifest = generations.read_manifest(generations.current_generation(folder))
            embedder = manifest.embedder.name
        except (IndexMissingError, IndexDamagedError, IndexVersionError):
            embedder = DEFAULT_EMBEDDER
    return open_embedder(embedder) if isinstance(embedder, str) else embedder


def _read_old(
    folder: Path, report: ReportProgress
) -> tuple[tuple[Path, Manifest] | None, tuple[RepositoryRecord, ...]]:
    """Read the index that is there: its generation if it is whole, and what it was made of."""
    known: tuple[RepositoryRecord, ...] = ()
    try:
        generation = generations.current_generation(folder)
        manifest = generations.read_manifest(generation)
        known = manifest.repositories
        generations.verify_files(generation, manifest)
    except IndexMissingError:
        return None, known
    except (IndexDamagedError, IndexVersionError) as error:
        report(Progress("notice", message=f"starting afresh: {error}"))
        return None, known
    return (generation, manifest), known


def _publish_in_haste(
    folder: Path, snapshots: Sequence[Snapshot], embedder: Embedder, report: ReportProgress
) -> bool:
    """Publish something to search as soon as can be, if syntax trees of so much text take a while.

    Files are cut at blank lines; nothing is embedded or kept of such chunks.

    :return: whether there is so much of it.
    """
    draft = generations.start_draft(folder)
    with closing(ChunkStore.create(draft / CHUNKS)) as store:
        records = [_add_snapshot(store, each, report, hasty=True) for each in snapshots]
        if len(store) <= HASTY_ABOVE_CHUNKS:
            shutil.rmtree(draft)
            return False
        manifest = _index_words(draft, store, records, embedder, report)
    generations.publish_draft(draft, manifest)
    report(Progress("lexical-ready", manifest.chunks, manifest.chunks))
    return True


def _is_finished(manifest: Manifest) -> bool:
    """Tell whether a build went through to its end; chunks of others may have been cut in haste."""
    return manifest.vectors == manifest.chunks


def _write_words(
    draft: Path,
    old_store: Path | None,
    old_records: Sequence[RepositoryRecord],
    snapshots: Sequence[Snapshot],
    embedder: Embedder,
    report: ReportProgress,
) -> Manifest:
    """Write the chunk store and the lexical index; return the manifest, without vectors.

    Repositories keep their order, so that an update gives what a build from nothing would.

    :param old_store: holds the chunks of `old_records`; None where all are read anew.
    """
    fresh = {snapshot.repository.name: snapshot for snapshot in snapshots}
    kept = {record.name: record for record in old_records} if old_store else {}
    records = []
    with closing(ChunkStore.create(draft / CHUNKS)) as store:
        for name in dict.fromkeys([*kept, *fresh]):
            if name in fresh:
                records.append(_add_snapshot(store, fresh[name], report))
            elif old_store:
                with (
                    generations.reading(old_store.parent),
                    closing(ChunkStore.open(old_store)) as previous,
                ):
                    links = previous.links(name) if is_site(kept[name].location) else ()
                    secrets = previous.redacted(name)
                    store.add(
                        previous.chunks(name), previous.skipped(name), links=links, secrets=secrets
                    )
                records.append(kept[name])
        return _index_words(draft, store, records, embedder, report)


def _index_words(
    draft: Path,
    store: ChunkStore,
    records: Sequence[RepositoryRecord],
    embedder: Embedder,
    report: ReportProgress,
) -> Manifest:
    """Finish the chunk store and index its words."""
    store.finish()
    total = len(store)
    report(Progress("lexical", 0, total))
    LexicalIndex.build(draft / LEXICAL, store.chunks())
    report(Progress("lexical", total, total))
    return Manifest(
        format=generations.FORMAT,
        embedder=EmbedderRecord(name=embedder.name, fingerprint=embedder.fingerprint),
        repositories=tuple(records),
        chunks=total,
        vectors=0,
        created_at=time.time(),
    )


def _add_snapshot(
    store: ChunkStore, snapshot: Snapshot, report: ReportProgress, *, hasty: bool = False
) -> RepositoryRecord:
    repository = snapshot.repository
    content = hashlib.sha256()
    files = chunks = left_out = 0
    skipped: list[SkippedFile] = []
    pending: list[Chunk] = []
    links: list[Link] = []
    secrets: list[FileSecrets] = []
    for file in snapshot.files():
        if isinstance(file, SkippedFile):
            skipped.append(file)
            left_out += 1
            if len(skipped) >= STORE_SPAN:
                store.add((), skipped)
                skipped.clear()
            continue
        content.update(f"{file.path}\0{file.sha256}\n".encode("utf-8", errors="surrogatepass"))
        pieces = cut_paragraphs(file) if hasty else chunk_file(file)
        files, chunks = files + 1, chunks + len(pieces)
        pending += pieces
        links += ((file.repo, file.path, line, url) for line, url in file.links)
        if file.secrets:
            counts = Counter(file.secrets).items()
            secrets += (FileSecrets(file.repo, file.path, *each) for each in counts)
        if len(pending) >= STORE_SPAN:
            store.add(pending, hashed=not hasty)
            pending.clear()
        report(Progress("read" if hasty else "parse", files))
    store.add(pending, skipped, links=links, secrets=secrets, hashed=not hasty)
    if not files:
        raise SourceError(
            f"{repository.location} holds no text to index (files skipped: {left_out:,}); "
            "check that it is the right repository and branch"
        )
    return RepositoryRecord(
        **asdict(repository),
        content_sha256=content.hexdigest(),
        files=files,
        chunks=chunks,
        skipped=left_out,
        redacted=_count_kinds(secrets),
    )


def _count_kinds(secrets: Iterable[FileSecrets]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for found in secrets:
        counts[found.kind] += found.count
    return dict(counts)


def _write_vectors(
    draft: Path, embedder: Embedder, report: ReportProgress, exact_up_to: int
) -> int:
    """Embed what is not cached, write all vectors, and return how many were embedded."""
    with (
        closing(ChunkStore.open(draft / CHUNKS)) as store,
        closing(EmbeddingCache(draft.parent / EMBEDDINGS, embedder.fingerprint)) as cache,
    ):
        hashes = store.text_hashes()
        known = cache.known(hashes)
        missing = len(set(hashes) - known)
        report(Progress("embed", 0, missing))
        done = 0
        for span in _spans_to_embed(store, hashes, known):
            fresh = embed_chunks([chunk for _, chunk in span], embedder.embed)
            keys = [key for key, _ in span]
            cache.put(keys, fresh)
            done += len(span)
            report(Progress("embed", done, missing))
        try:
            DenseIndex.create(draft / VECTORS, cache.spans(hashes), exact_up_to=exact_up_to)
        except KeyError as error:  # what was there a moment ago is not found by its key
            raise generations.damaged(
                draft.parent, f"{EMBEDDINGS} has lost its order, remove that file"
            ) from error
        cache.prune(hashes)
    return missing


def _spans_to_embed(
    store: ChunkStore, hashes: Sequence[bytes], cached: Iterable[bytes]
) -> Iterator[list[tuple[bytes, Chunk]]]:
    """Yield (hash, chunk) of what is not cached, each hash once, some hundreds at a time."""
    seen = set(cached)
    span: list[tuple[bytes, Chunk]] = []
    for key, chunk in zip(hashes, store.chunks(), strict=True):
        if key not in seen:
            seen.add(key)
            span.append((key, chunk))
            if len(span) == EMBED_SPAN:
                yield span
                span = []
    if span:
        yield span
