"""Building an index: read, chunk, index the words, then embed what is new.

The words come first, in seconds: on a first build a generation with lexical search alone is
published before the vectors are made. Vectors are cached by text, so an interrupted run goes on
where it stopped and an unchanged chunk is never embedded twice.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from data_tools.chunk import chunk_file
from data_tools.errors import (
    IndexDamagedError,
    IndexMissingError,
    IndexVersionError,
    SourceError,
)
from data_tools.sources import (
    WORKTREE,
    SkippedFile,
    Snapshot,
    is_remote,
    open_source,
    plain_location,
    split_spec,
    unique_name,
)
from retrieval import generations
from retrieval.dense import DenseIndex
from retrieval.embed import DEFAULT_EMBEDDER, Embedder, Vectors, open_embedder
from retrieval.generations import EmbedderRecord, Manifest, RepositoryRecord
from retrieval.lexical import LexicalIndex
from retrieval.store import ChunkStore, EmbeddingCache, embedded_text

CHUNKS = "chunks.sqlite"
VECTORS = "vectors.faiss"
LEXICAL = "lexical"
EMBEDDINGS = "embeddings.sqlite"
EMBED_SPAN = 512  # texts between two saves of the cache: what Ctrl-C can lose


@dataclass(frozen=True)
class Progress:
    """One step of a build.

    :param stage: `clone`, `read`, `lexical`, `lexical-ready`, `embed` or `notice`.
    :param done: files or chunks so far.
    :param total: how many there are in all, where it is known.
    :param message: for `clone` and `notice`, what to tell the user.
    """

    stage: str
    done: int = 0
    total: int | None = None
    message: str = ""


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    :param embedded: chunks whose text had to be embedded; the others were cached.
    :param changed: whether a new generation was written.
    """

    manifest: Manifest
    embedded: int
    changed: bool


ReportProgress = Callable[[Progress], None]


def build_index(
    specs: Sequence[str], folder: Path, embedder: Embedder, report: ReportProgress
) -> BuildReport:
    """Index the repositories in `specs`; those in the index already and not named stay.

    :param specs: `REPO[@REF]` each; one that is in the index already is brought up to date.
    :raises SourceError: a repository cannot be read, holds no text, or is named twice.
    :raises StorageError: the disk is full, or another build is running.
    """
    with generations.write_lock(folder):
        generations.remove_old_generations(folder)
        previous, known = _read_old(folder, report)
        old = previous[1] if previous else None
        if previous is None:
            specs = [*specs, *_specs_not_named(specs, known)]
        snapshots = _open_all(specs, known, report)
        if old and _is_up_to_date(old, snapshots, embedder):
            return BuildReport(old, 0, changed=False)
        try:
            draft = generations.start_draft(folder)
            manifest = _write_words(draft, previous, snapshots, embedder, report)
            if old and _same_content(old, manifest):
                shutil.rmtree(draft)
                return BuildReport(old, 0, changed=False)
            if old is None or old.vectors < old.chunks:  # lexical search, as soon as can be
                words = generations.publish_draft(draft, manifest)
                report(Progress("lexical-ready", manifest.chunks, manifest.chunks))
                draft = generations.continue_draft(words)
            embedded = _write_vectors(draft, embedder, report)
            manifest = manifest.model_copy(update={"vectors": manifest.chunks})
            generations.publish_draft(draft, manifest)
        except BaseException:
            generations.remove_drafts(folder)
            raise
        generations.remove_old_generations(folder)
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


def _specs_not_named(specs: Sequence[str], known: Sequence[RepositoryRecord]) -> list[str]:
    """List the repositories of a damaged index that must be read again beside `specs`."""
    named = {_identity(split_spec(spec)[0]) for spec in specs}
    return [record.spec for record in known if _identity(record.location) not in named]


def _identity(location: str) -> str:
    """Return what two ways to write one repository have in common."""
    plain = plain_location(location).rstrip("/")
    on_disk = not is_remote(location) or plain.startswith("file:")
    return plain if on_disk else plain.removesuffix(".git")


def _open_all(
    specs: Sequence[str], known: Sequence[RepositoryRecord], report: ReportProgress
) -> list[Snapshot]:
    """Open every repository under a name of its own: the one it had before, if any."""
    names = {_identity(record.location): record.name for record in known}
    refs: dict[str, str | None] = {}
    for spec in specs:
        location, ref = split_spec(spec)
        identity = _identity(location)
        if refs.setdefault(identity, ref) != ref:
            raise SourceError(
                f"{plain_location(location)} is given twice, at {refs[identity] or 'HEAD'} and "
                f"{ref or 'HEAD'}; one index holds it once, so make two"
            )
        names.setdefault(identity, unique_name(location, set(names.values())))
    unique = {_identity(split_spec(spec)[0]): spec for spec in specs}
    return [_open(spec, names[identity], report) for identity, spec in unique.items()]


def _open(spec: str, name: str, report: ReportProgress) -> Snapshot:
    report(Progress("clone", message=f"opening {name}"))
    snapshot = open_source(
        spec, name=name, report=lambda line: report(Progress("clone", message=line))
    )
    if snapshot.notice:
        report(Progress("notice", message=snapshot.notice))
    return snapshot


def _is_up_to_date(old: Manifest, snapshots: Sequence[Snapshot], embedder: Embedder) -> bool:
    """Tell from the commits alone that nothing has changed; a plain folder must be read."""
    records = {record.name: record for record in old.repositories}
    return (
        old.vectors == old.chunks
        and old.embedder.fingerprint == embedder.fingerprint
        and all(
            snapshot.repository.commit != WORKTREE
            and (record := records.get(snapshot.repository.name)) is not None
            and record.repository == snapshot.repository
            for snapshot in snapshots
        )
    )


def _same_content(old: Manifest, new: Manifest) -> bool:
    return (
        old.vectors == old.chunks
        and old.embedder == new.embedder
        and old.repositories == new.repositories
    )


def _write_words(
    draft: Path,
    old: tuple[Path, Manifest] | None,
    snapshots: Sequence[Snapshot],
    embedder: Embedder,
    report: ReportProgress,
) -> Manifest:
    """Write the chunk store and the lexical index; return the manifest, without vectors.

    Repositories keep their order, so that an update gives what a build from nothing would.
    """
    fresh = {snapshot.repository.name: snapshot for snapshot in snapshots}
    kept = {record.name: record for record in old[1].repositories} if old else {}
    records = []
    store = ChunkStore.create(draft / CHUNKS)
    try:
        for name in dict.fromkeys([*kept, *fresh]):
            if name in fresh:
                records.append(_add_snapshot(store, fresh[name], report))
            elif old:
                with closing(ChunkStore.open(old[0] / CHUNKS)) as previous:
                    store.add(previous.chunks(name), previous.skipped(name))
                records.append(kept[name])
        store.finish()
        total = len(store)
        report(Progress("lexical", 0, total))
        LexicalIndex.build(draft / LEXICAL, store.chunks())
        report(Progress("lexical", total, total))
    finally:
        store.close()
    return Manifest(
        format=generations.FORMAT,
        embedder=EmbedderRecord(name=embedder.name, fingerprint=embedder.fingerprint),
        repositories=tuple(records),
        chunks=total,
        vectors=0,
        created_at=time.time(),
    )


def _add_snapshot(
    store: ChunkStore, snapshot: Snapshot, report: ReportProgress
) -> RepositoryRecord:
    repository = snapshot.repository
    content = hashlib.sha256()
    files = chunks = skipped = 0
    for file in snapshot.files():
        if isinstance(file, SkippedFile):
            store.add((), [file])
            skipped += 1
            continue
        content.update(f"{file.path}\0{file.sha256}\n".encode("utf-8", errors="surrogatepass"))
        pieces = chunk_file(file)
        store.add(pieces)
        files, chunks = files + 1, chunks + len(pieces)
        report(Progress("read", files))
    if not files:
        raise SourceError(
            f"{repository.location} holds no text to index (files skipped: {skipped:,}); "
            "check that it is the right repository and branch"
        )
    return RepositoryRecord(
        **asdict(repository),
        content_sha256=content.hexdigest(),
        files=files,
        chunks=chunks,
        skipped=skipped,
    )


def _write_vectors(draft: Path, embedder: Embedder, report: ReportProgress) -> int:
    """Embed what is not cached, write all vectors, and return how many were embedded."""
    with (
        closing(ChunkStore.open(draft / CHUNKS)) as store,
        closing(EmbeddingCache(draft.parent / EMBEDDINGS, embedder.fingerprint)) as cache,
    ):
        hashes = store.text_hashes()
        vectors = cache.get(hashes)
        missing = len(set(hashes) - vectors.keys())
        report(Progress("embed", 0, missing))
        done = 0
        for span in _spans_to_embed(store, hashes, vectors.keys()):
            fresh = embedder.embed([text for _, text in span])
            keys = [key for key, _ in span]
            cache.put(keys, fresh)
            vectors.update(cache.get(keys))
            done += len(span)
            report(Progress("embed", done, missing))
        matrix: Vectors = np.stack([vectors[key] for key in hashes])
        DenseIndex.build(matrix).write(draft / VECTORS)
        cache.prune(hashes)
    return missing


def _spans_to_embed(
    store: ChunkStore, hashes: Sequence[bytes], cached: Iterable[bytes]
) -> Iterator[list[tuple[bytes, str]]]:
    """Yield (hash, text) of what is not cached, each text once, some hundreds at a time."""
    seen = set(cached)
    span: list[tuple[bytes, str]] = []
    for key, chunk in zip(hashes, store.chunks(), strict=True):
        if key not in seen:
            seen.add(key)
            span.append((key, embedded_text(chunk)))
            if len(span) == EMBED_SPAN:
                yield span
                span = []
    if span:
        yield span
