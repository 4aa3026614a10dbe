"""`CodeIndex`: build an index of repositories, keep it up to date, search it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from data_tools.chunk import Chunk
from data_tools.errors import (
    EmbedderMismatchError,
    IndexDamagedError,
)
from data_tools.progress import ReportProgress
from data_tools.secrets import FileSecrets
from data_tools.sources import SkippedFile
from data_tools.text import split_lines
from retrieval import build, generations, rank
from retrieval.build import BuildReport
from retrieval.dense import EXACT_UP_TO, DenseIndex
from retrieval.embed import Embedder, open_embedder
from retrieval.generations import Manifest, RepositoryRecord
from retrieval.lexical import LexicalIndex
from retrieval.search import Filters, Generation, Hit, SearchMode, link, search
from retrieval.store import ChunkStore

if TYPE_CHECKING:
    from retrieval.langchain_retriever import CodeIndexRetriever


class CodeIndex:
    """An index of code repositories on disk. Safe to search from several threads."""

    def __init__(self, folder: Path, generation: Generation, embedder: Embedder | None) -> None:
        """Use `build` or `open` instead."""
        self.folder = folder
        self._generation = generation
        self._embedder = embedder
        self._refreshing = threading.Lock()
        self._choosing_embedder = threading.Lock()

    @classmethod
    def build(
        cls,
        repositories: Sequence[str],
        folder: str | Path,
        *,
        embedder: Embedder | str | None = None,
        report: ReportProgress | None = None,
    ) -> Self:
        """Index repositories; those that the folder holds already and are not named stay.

        :param repositories: git URLs or paths, each with `@REF` for a branch, tag or commit; or
            addresses of documentation sites (`docs+URL` where it could be either).
        :param folder: where the index lives; made if needed.
        :param embedder: a model, its folder or its name; by default the one the index was made
            with, else the packaged MiniLM.
        :param report: called with every `Progress`.
        :raises SourceError: a repository cannot be read, or holds no text.
        :raises EmbedderError: the embedding model cannot be loaded.
        :raises StorageError: the disk is full, or another build is running.
        :raises ValueError: `repositories` is empty.
        """
        if not repositories:
            raise ValueError("give at least one repository to index")
        folder = Path(folder).expanduser()
        model = build.choose_embedder(folder, embedder)
        index_repositories(repositories, folder, embedder=model, report=report)
        return cls(folder, _open_generation(folder), model)

    @classmethod
    def open(cls, folder: str | Path, *, embedder: Embedder | str | None = None) -> Self:
        """Open an index for searching.

        :param embedder: a model to insist on; by default the one that the index names, which
            is loaded at the first search.
        :raises IndexMissingError: there is none in `folder`.
        :raises IndexDamagedError: a file of it is missing, truncated or altered.
        :raises IndexVersionError: it is of another format.
        :raises EmbedderMismatchError: it was made with another model than `embedder`.
        """
        folder = Path(folder).expanduser()
        generation = _open_generation(folder)
        if isinstance(embedder, str):
            embedder = open_embedder(embedder)
        if embedder is not None:
            _check_embedder(folder, generation.manifest, embedder)
        return cls(folder, generation, embedder)

    def update(self, *, report: ReportProgress | None = None) -> BuildReport:
        """Bring every repository of the index up to date; only what changed is embedded.

        :raises CodeQAError: as `build` does; the index is then as it was.
        """
        result = index_repositories((), self.folder, embedder=self.embedder, report=report)
        self.refresh()
        return result

    def remove(self, name: str, *, report: ReportProgress | None = None) -> BuildReport:
        """Take a repository out of the index; the others stay as they are and are not read again.

        :raises SourceError: the index holds none of that name, or nothing else.
        :raises StorageError: as `build` does; the index is then as it was.
        """
        result = index_repositories(
            (), self.folder, embedder=self.embedder, report=report, remove=[name]
        )
        self.refresh()
        return result

    def verify(self) -> None:
        """Check every file against the hash it was written with: seconds for a large index.

        :raises IndexDamagedError: one was altered; opening looks for that only in small files,
            and in large ones that were touched since they were last checked.
        """
        generations.verify_files(self._generation.folder, self.manifest, thorough=True)

    def refresh(self) -> bool:
        """Switch to the newest generation, if another process or thread has written one.

        :return: whether there was one.
        :raises IndexDamagedError: it cannot be read; the old one stays in use.
        """
        with self._refreshing:
            if generations.current_generation(self.folder) == self._generation.folder:
                return False
            self._generation = _open_generation(self.folder)
            return True

    def newest(self) -> Self:
        """Return an index of the newest generation: this one, or another if there is a newer.

        This one goes on with its own: what reads it for long reads one generation wholly.

        :raises IndexDamagedError: the newest cannot be read; this one can still be used.
        """
        with self._refreshing:
            if generations.current_generation(self.folder) == self._generation.folder:
                return self
            return type(self)(self.folder, _open_generation(self.folder), self._embedder)

    def close(self) -> None:
        """Close the files of the index."""
        self._generation.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Count the chunks."""
        return self.manifest.chunks

    @property
    def manifest(self) -> Manifest:
        """What the index holds: repositories, commits, counts, embedding model."""
        return self._generation.manifest

    @property
    def vectors_ready(self) -> bool:
        """Whether meaning is searched too; until then words alone are."""
        return self._generation.dense is not None

    @property
    def embedder(self) -> Embedder:
        """The embedding model of the index.

        :raises EmbedderError: it cannot be loaded.
        :raises EmbedderMismatchError: its weights are not those the index was made with.
        """
        return self._embedder_of(self.manifest)

    @contextmanager
    def _reading(self) -> Iterator[Generation]:
        """Give the generation in force for as long as it is read; see `generations.reading`."""
        now = self._generation
        with generations.reading(now.folder):
            yield now

    def _embedder_of(self, manifest: Manifest) -> Embedder:
        """Return the model that made a generation's vectors: a newer one may have another."""
        with self._choosing_embedder:
            embedder = self._embedder
            if embedder is None or embedder.fingerprint != manifest.embedder.fingerprint:
                embedder = open_embedder(manifest.embedder.name)
                _check_embedder(self.folder, manifest, embedder)
                self._embedder = embedder
            return embedder

    def search(
        self,
        question: str,
        k: int = 8,
        *,
        repos: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        path_glob: str | None = None,
        mode: SearchMode = "hybrid",
    ) -> list[Hit]:
        """Find the chunks that answer a question, best first.

        :param k: how many, at most.
        :param repos: names of repositories to search; None is all. Likewise `languages`.
        :param path_glob: a pattern as in `.gitignore`, such as `src/**/*.py`.
        :param mode: `lexical` ranks by BM25 alone, `dense` by the vectors alone: for comparisons.
        :raises QuestionError: the question is empty, too long, or not valid Unicode; there is no
            such repository or language; `path_glob` is no pattern; or `mode` is `dense` while the
            vectors are still missing.
        :raises IndexDamagedError: what was found is not what was indexed.
        :raises ValueError: `k` is below 1.
        """
        with self._reading() as now:
            return search(
                now,
                question,
                k,
                filters=Filters(repos, languages, path_glob),
                mode=mode,
                embed=lambda text: self._embedder_of(now.manifest).embed_query(text),
            )

    def link(self, chunk: Chunk) -> str | None:
        """Link to a chunk's lines at its commit; None where no link would work."""
        with self._reading() as now:
            return link(now, chunk)

    def repository(self, name: str) -> RepositoryRecord:
        """Return what is known of a repository.

        :raises KeyError: the index holds none of that name.
        """
        return self.manifest.repository(name)

    def languages(self, repo: str | None = None) -> list[tuple[str, int]]:
        """Count the indexed files by language, most first."""
        with self._reading() as now:
            return now.store.languages(repo)

    def skipped(self, repo: str | None = None) -> list[SkippedFile]:
        """List the files that are not indexed, and why."""
        with self._reading() as now:
            return now.store.skipped(repo)

    def redacted(self, repo: str | None = None) -> list[FileSecrets]:
        """List out of which files secrets were taken, and of which kinds."""
        with self._reading() as now:
            return now.store.redacted(repo)

    def file_text(self, repo: str, path: str) -> str:
        """Return a whole file as it was indexed.

        :raises KeyError: the index holds no such file.
        """
        with self._reading() as now:
            chunks = now.store.file_chunks(repo, path)
        if not chunks:
            raise KeyError(f"{repo}/{path}")
        return "".join(chunk.text for chunk in chunks)

    def lines(self, repo: str, path: str, start_line: int, end_line: int) -> list[str]:
        """Return lines of a file, 1-based and inclusive, without their newlines.

        :raises KeyError: the index holds no such file.
        """
        lines = split_lines(self.file_text(repo, path))[max(start_line, 1) - 1 : max(end_line, 0)]
        return [line.rstrip("\n") for line in lines]

    def rarity(self, tokens: Sequence[str]) -> list[float]:
        """Rate how telling search tokens are: 0 for one in every chunk, 1 for one in none.

        :param tokens: as `retrieval.lexical.query_tokens` gives them.
        """
        with self._reading() as now:
            frequencies = now.lexical.document_frequencies(tokens)
        return [rank.rarity(n, now.manifest.chunks) for n in frequencies]

    def chunks(self, repo: str | None = None) -> list[Chunk]:
        """Return all chunks, in the order of their files."""
        with self._reading() as now:
            return list(now.store.chunks(repo))

    def as_retriever(self, k: int = 8) -> "CodeIndexRetriever":
        """Return this index as a LangChain retriever.

        :param k: how many documents it returns.
        """
        from retrieval.langchain_retriever import CodeIndexRetriever

        return CodeIndexRetriever(index=self, k=k)


def index_repositories(
    repositories: Sequence[str],
    folder: Path,
    *,
    embedder: Embedder | str | None = None,
    report: ReportProgress | None = None,
    remove: Sequence[str] = (),
    exact_up_to: int = EXACT_UP_TO,
) -> BuildReport:
    """Write an index as `CodeIndex.build` does, and say what was done.

    :param repositories: if empty, those that the index holds already, or none if some are removed.
    :param remove: names of repositories to take out of the index.
    :param exact_up_to: above so many chunks, vectors are searched by clusters.
    :raises IndexMissingError: `repositories` is empty and there is no index.
    :raises CodeQAError: as `CodeIndex.build` does.
    """
    folder = folder.expanduser()
    model = build.choose_embedder(folder, embedder)
    if not repositories:
        manifest = generations.read_manifest(generations.current_generation(folder))
        repositories = () if remove else [record.spec for record in manifest.repositories]
    with generations.storage_errors(folder):
        return build.build_index(
            repositories,
            folder,
            model,
            report or (lambda _: None),
            remove=remove,
            exact_up_to=exact_up_to,
        )


def _check_embedder(folder: Path, manifest: Manifest, embedder: Embedder) -> None:
    if manifest.embedder.fingerprint != embedder.fingerprint:
        raise EmbedderMismatchError(
            f"the index in {folder} was made with {manifest.embedder.name} "
            f"({manifest.embedder.fingerprint[:12]}), not {embedder.name} "
            f"({embedder.fingerprint[:12]}); run "
            f"`codeqa index --index {folder} --embedder {embedder.name}` to make it anew"
        )


def _open_generation(folder: Path) -> Generation:
    for attempt in (1, 2, 3):
        generation = generations.current_generation(folder)
        try:
            manifest = generations.read_manifest(generation)
            generations.verify_files(generation, manifest)
            with generations.reading(generation):
                return _open_parts(generation, manifest)
        except IndexDamagedError:
            # A writer may have replaced and removed the generation while it was being opened.
            if attempt == 3 or generations.current_generation(folder) == generation:
                raise
    raise AssertionError("unreachable")


def _open_parts(generation: Path, manifest: Manifest) -> Generation:
    """Open what a generation is made of, and see that its parts tell of the same chunks."""
    store = ChunkStore.open(generation / build.CHUNKS)
    lexical = LexicalIndex.open(generation / build.LEXICAL)
    dense = DenseIndex.open(generation / build.VECTORS) if manifest.vectors else None
    counts = {len(store), len(lexical), *([len(dense)] if dense else [])}
    if counts != {manifest.chunks}:
        raise IndexDamagedError("its parts do not hold the same chunks")
    return Generation(generation, manifest, store, lexical, dense)
